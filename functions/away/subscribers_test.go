package away

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
)

// register is a database and marks of who has subscribed.
type register struct {
	subscribed map[string]bool
	marks      map[string]string
	asked      [][]string
	down       error
}

func (r *register) Subscribers(_ context.Context, users []string) (found []string, err error) {
	slices.Sort(users)
	r.asked = append(r.asked, users)
	for _, u := range users {
		if r.subscribed[u] {
			found = append(found, u)
		}
	}
	return found, nil
}

func (r *register) SubscribedMarks(_ context.Context, users []string) ([]string, error) {
	all := make([]string, len(users))
	for i, u := range users {
		all[i] = r.marks[u]
	}
	return all, r.down
}

func TestTheDatabaseIsAskedOnlyOfWhomItIsNotKnown(t *testing.T) {
	r := &register{subscribed: map[string]bool{"eve": true}, marks: map[string]string{}}
	s := newSubscribers(r, r)
	for _, tt := range []struct {
		what   string
		before func()
		users  []string
		want   []string
		asked  []string // nil: nobody was
	}{
		{"nobody is known", func() {}, []string{"ann", "eve"}, []string{"eve"}, []string{"ann", "eve"}},
		{"who has none is known", func() {}, []string{"ann"}, nil, nil},
		{"who has one is asked about", func() {}, []string{"ann", "eve"}, []string{"eve"}, []string{"eve"}},
		{"who subscribes is asked about anew", func() { r.subscribed["ann"], r.marks["ann"] = true, "1" }, []string{"ann"}, []string{"ann"}, []string{"ann"}},
		{"who shares their mark is, too", func() { r.subscribed["ann"], r.marks["ann"] = false, "2" }, []string{"ann"}, nil, []string{"ann"}},
		{"and known again", func() {}, []string{"ann"}, nil, nil},
	} {
		tt.before()
		r.asked = nil
		got, err := s.among(t.Context(), tt.users)
		if err != nil {
			t.Fatal(err)
		}
		if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, tt.want) {
			t.Errorf("%s: %q, not %q", tt.what, have, tt.want)
		}
		if (tt.asked == nil) != (r.asked == nil) || tt.asked != nil && !slices.Equal(r.asked[0], tt.asked) {
			t.Errorf("%s: asked about %q, not %q", tt.what, r.asked, tt.asked)
		}
	}
}

// A subscription that comes while the database is asked is not missed the next
// time.
func TestASubscriptionThatComesMeanwhileIsNoticed(t *testing.T) {
	r := &register{subscribed: map[string]bool{}, marks: map[string]string{}}
	late := &lateRegister{register: r}
	s := newSubscribers(late, r)
	for i, want := range []int{0, 1} {
		got, err := s.among(t.Context(), []string{"ann"})
		if err != nil || len(got) != want {
			t.Errorf("look %d: %v, %v", i, got, err)
		}
	}
}

// lateRegister is read just before somebody subscribes.
type lateRegister struct{ *register }

func (l *lateRegister) Subscribers(ctx context.Context, users []string) ([]string, error) {
	found, err := l.register.Subscribers(ctx, users)
	l.subscribed["ann"], l.marks["ann"] = true, "1"
	return found, err
}

func TestWithoutMarksNobodyIsSaidToHaveNone(t *testing.T) {
	r := &register{down: errors.New("no Redis")}
	if _, err := newSubscribers(r, r).among(t.Context(), []string{"ann"}); !errors.Is(err, r.down) {
		t.Error(err)
	}
}
