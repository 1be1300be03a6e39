package group

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	cleo = "cccccccccccccccc"
	none = "zzzzzzzzzzzzzzzz"
)

// registry keeps groups of users that are not none.
type registry struct {
	groups []im.GroupInfo
	err    error
}

func (r *registry) CreateGroup(_ context.Context, g im.GroupInfo) error {
	if slices.Contains(g.Members, none) {
		return im.Errorf(im.NotFound, "there is no user %s", none)
	}
	if r.err == nil {
		r.groups = append(r.groups, g)
	}
	return r.err
}

func TestCreate(t *testing.T) {
	many := make([]string, im.MaxGroup-1)
	for i := range many {
		many[i] = im.NewID()
	}
	for _, tt := range []struct {
		name    string
		in      request
		down    bool
		members []string
		want    error
	}{
		{name: "the caller is a member", in: request{"staff", []string{cleo, bob}}, members: []string{ann, bob, cleo}},
		{name: "a member named twice is one, and so is the caller", in: request{"staff", []string{bob, ann, bob}}, members: []string{ann, bob}},
		{name: "alone", in: request{"staff", nil}, members: []string{ann}},
		{name: "as many as may be", in: request{"staff", many}, members: slices.Sorted(slices.Values(append([]string{ann}, many...)))},
		{name: "as many as may be, and some twice", in: request{"staff", append(slices.Clone(many), many[:9]...)}, members: slices.Sorted(slices.Values(append([]string{ann}, many...)))},
		{name: "one more", in: request{"staff", append(slices.Clone(many), bob)}, want: im.TooLarge},
		{name: "a user that there is not", in: request{"staff", []string{bob, none}}, want: im.NotFound},
		{name: "what is no user by its form", in: request{"staff", []string{"bob"}}, want: im.Invalid},
		{name: "no name", in: request{"", []string{bob}}, want: im.Invalid},
		{name: "the database is down", in: request{"staff", []string{bob}}, down: true, want: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &registry{}
			if tt.down {
				r.err = im.Unavailable
			}
			got, err := create(r)(t.Context(), im.Caller{User: ann}, tt.in)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if tt.want == im.NotFound && !strings.Contains(im.ProblemOf(err).Detail, none) {
				t.Errorf("the error does not name the user: %v", err)
			}
			if tt.want != nil {
				if len(r.groups) > 0 || got.ID != "" {
					t.Errorf("created %+v", got)
				}
				return
			}
			if !slices.Equal(got.Members, tt.members) || got.Owner != ann || got.Name != "staff" {
				t.Errorf("created %+v", got)
			}
			if got.Conversation.Group() != got.ID || got.Conversation.Check() != nil {
				t.Errorf("group %s has conversation %s", got.ID, got.Conversation)
			}
			if age := time.Since(got.Created.Std()); age < 0 || age > time.Minute {
				t.Errorf("created at %s", got.Created)
			}
			if len(r.groups) != 1 || r.groups[0].ID != got.ID || !slices.Equal(r.groups[0].Members, got.Members) {
				t.Errorf("kept %+v", r.groups)
			}
		})
	}
}
