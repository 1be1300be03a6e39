package push

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// circle is who has come or gone, and who is to know.
type circle struct {
	turned             []im.Presence
	friends            map[string][]string
	turnErr, friendErr error
	asked              []string
	limit              int
	untold             []string
}

func (c *circle) Turned(_ context.Context, users []string) ([]im.Presence, error) {
	c.asked = append(c.asked, users...)
	return c.turned, c.turnErr
}

func (c *circle) Untold(ctx context.Context, turned []im.Presence) error {
	for _, p := range turned {
		c.untold = append(c.untold, p.User)
	}
	return ctx.Err()
}

func (c *circle) Watchers(_ context.Context, users []string, limit int) (map[string][]string, error) {
	c.limit = limit
	out := map[string][]string{}
	for _, u := range users {
		if f, ok := c.friends[u]; ok {
			out[u] = f
		}
	}
	return out, c.friendErr
}

func TestFriendsAreToldWhoHasComeAndGone(t *testing.T) {
	const came, went = `{"type":"presence","user":"dddddddddddddddd","online":true}`, `{"type":"presence","user":"bbbbbbbbbbbbbbbb","online":false,"last_seen":"1970-01-01T00:00:00.000007Z"}`
	friends := map[string][]string{dave: {ann, bob, cleo}, bob: {ann, dave}}
	for _, tt := range []struct {
		name     string
		changes  []string
		circle   circle
		one, two []string // what the gateways get
		untold   []string
		want     error
	}{
		{name: "those who are connected are told once each", changes: []string{dave, bob},
			circle: circle{turned: []im.Presence{{User: dave, Online: true}, {User: bob, LastSeen: 7}}, friends: friends},
			one:    []string{came + " a:0 c:0", went + " a:0"}, two: []string{came + " a:0 b:0", went + " a:0"}},
		{name: "nobody, if they know", changes: []string{dave}, circle: circle{friends: friends}},
		{name: "nobody, of who lets nobody know", changes: []string{cleo}, circle: circle{turned: []im.Presence{{User: cleo, Online: true}}, friends: friends}},
		{name: "those of whom it is known, if Redis fails for others", changes: []string{dave, bob},
			circle: circle{turned: []im.Presence{{User: dave, Online: true}}, turnErr: down, friends: friends},
			one:    []string{came + " a:0 c:0"}, two: []string{came + " a:0 b:0"}, want: im.Unavailable},
		{name: "nobody, if nobody knows whom; and they are told when it comes again", changes: []string{dave},
			circle: circle{turned: []im.Presence{{User: dave, Online: true}}, friendErr: down}, untold: []string{dave}, want: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var changes []event.Changed
			for _, u := range tt.changes {
				changes = append(changes, event.Changed{User: u})
			}
			err := presence(w.delivery(), &tt.circle, &tt.circle, 7)(t.Context(), changes)
			if !errors.Is(err, tt.want) || !slices.Equal(tt.circle.asked, tt.changes) || !slices.Equal(tt.circle.untold, tt.untold) {
				t.Errorf("error = %v, want %v; asked %v, untold %v", err, tt.want, tt.circle.asked, tt.circle.untold)
			}
			if len(tt.circle.turned) > 0 && tt.circle.limit != 7 {
				t.Errorf("asked for %d friends", tt.circle.limit)
			}
			for gateway, want := range map[string][]string{"one": tt.one, "two": tt.two} {
				if got := w.at(gateway); !slices.Equal(got, want) {
					t.Errorf("%s got %q, want %q", gateway, got, want)
				}
			}
		})
	}
}

func TestAChangeOfNobodyIsRefusedAlone(t *testing.T) {
	w := newWorld(t)
	c := circle{turned: []im.Presence{{User: dave, Online: true}}, friends: map[string][]string{dave: {ann}}}
	err := presence(w.delivery(), &c, &c, 7)(t.Context(), []event.Changed{{User: `x"`}, {User: dave}})
	var each fn.Each
	if !errors.As(err, &each) || !errors.Is(each[0], im.Invalid) || each[1] != nil || len(w.at("one")) != 1 {
		t.Errorf("error = %v, pushed %q", err, w.at("one"))
	}
}

// A request ends before who is no longer waited for could be noted.
func TestWhoWasNotToldIsNotedWhenTimeIsUp(t *testing.T) {
	w := newWorld(t)
	c := circle{turned: []im.Presence{{User: dave, Online: true}}, friendErr: context.DeadlineExceeded}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := presence(w.delivery(), &c, &c, 7)(ctx, []event.Changed{{User: dave}}); err == nil || errors.Is(err, context.Canceled) || len(c.untold) != 1 {
		t.Errorf("error = %v, untold %v", err, c.untold)
	}
}

func TestP7ManyWithManyFriendsAreToldInParts(t *testing.T) {
	w := newWorld(t)
	const n, fanout = 50, 500
	crowd := make([]string, fanout)
	for i := range crowd {
		crowd[i] = im.NewID()
	}
	crowd[0] = ann
	c := circle{friends: map[string][]string{}}
	var changes []event.Changed
	for i := range n {
		u := strings.Repeat(string(rune('a'+i%26)), 15) + string(rune('a'+i/26))
		c.turned = append(c.turned, im.Presence{User: u, Online: true})
		c.friends[u] = crowd
		changes = append(changes, event.Changed{User: u})
	}
	if err := presence(w.delivery(), &c, &c, fanout)(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	if got := len(w.at("one")); got != n || w.lookups != n*fanout/maxTold {
		t.Errorf("told %d times, by %d look-ups", got, w.lookups)
	}
}
