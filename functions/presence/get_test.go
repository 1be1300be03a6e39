package presence

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	cleo = "cccccccccccccccc"
	dave = "dddddddddddddddd"
)

var down = &im.Error{Kind: im.Unavailable, Msg: "it is down"}

// world is who is online and whom ann may see.
type world struct {
	seen            []string
	online          map[string]im.Presence
	seenErr, getErr error
	asked           []string
}

func (w *world) SeenBy(_ context.Context, viewer string, users []string) ([]string, error) {
	if viewer != ann {
		return nil, errors.New("asked for another")
	}
	return slices.DeleteFunc(slices.Clone(users), func(u string) bool { return !slices.Contains(w.seen, u) }), w.seenErr
}

func (w *world) Of(_ context.Context, users []string) ([]im.Presence, error) {
	w.asked = users
	if w.getErr != nil {
		return nil, w.getErr
	}
	all := make([]im.Presence, len(users))
	for i, u := range users {
		all[i] = w.online[u]
		all[i].User = u
	}
	return all, nil
}

func TestGet(t *testing.T) {
	there := map[string]im.Presence{bob: {Online: true}, cleo: {LastSeen: 7}, dave: {Online: true}}
	many := make([]string, 101)
	for i := range many {
		many[i] = im.NewID()
	}
	for _, tt := range []struct {
		name  string
		users string
		world world
		want  []im.Presence
		kind  error
	}{
		{name: "who may be seen is seen, in the order asked", users: cleo + "," + bob, world: world{seen: []string{bob, cleo}, online: there},
			want: []im.Presence{{User: cleo, LastSeen: 7}, {User: bob, Online: true}}},
		{name: "who may not be seen is as who was never there", users: bob + "," + cleo + "," + dave + "," + ann, world: world{seen: []string{bob}, online: there},
			want: []im.Presence{{User: bob, Online: true}, {User: cleo}, {User: dave}, {User: ann}}},
		{name: "who is asked about twice is answered once", users: bob + "," + bob, world: world{}, want: []im.Presence{{User: bob}}},
		{name: "a hundred, one of them twice", users: strings.Join(append(many[:100:100], many[0]), ","), world: world{},
			want: slices.Collect(func(yield func(im.Presence) bool) {
				for _, u := range many[:100] {
					if !yield(im.Presence{User: u}) {
						return
					}
				}
			})},
		{name: "more than a hundred", users: strings.Join(many, ","), kind: im.TooLarge},
		{name: "nobody", users: "", kind: im.Invalid},
		{name: "not an id", users: bob + ",", kind: im.Invalid},
		{name: "PostgreSQL is down", users: bob, world: world{seen: []string{bob}, online: there, seenErr: down}, kind: im.Unavailable},
		{name: "Redis is down", users: bob, world: world{getErr: down}, kind: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := get(&tt.world, &tt.world)(t.Context(), im.Caller{User: ann}, request{tt.users})
			if !errors.Is(err, tt.kind) || !slices.Equal(got.Presence, tt.want) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// How long an answer takes must not tell who is hidden: Redis is asked about
// all.
func TestWhoIsHiddenCostsTheSame(t *testing.T) {
	w := &world{seen: []string{bob}}
	if _, err := get(w, w)(t.Context(), im.Caller{User: ann}, request{bob + "," + cleo}); err != nil || !slices.Equal(w.asked, []string{bob, cleo}) {
		t.Errorf("asked about %v, %v", w.asked, err)
	}
}
