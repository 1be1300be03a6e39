package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	staff  = "ssssssssssssssss" // a group of ann, bob and cleo
	others = "oooooooooooooooo" // a group of bob and cleo
	choir  = "hhhhhhhhhhhhhhhh" // a group of ann and 99 more
	crowd  = "wwwwwwwwwwwwwwww" // a group of ann and 999 more
)

// town knows who is what to whom: ann and bob know each other, ann and cleo do
// not want to.
type town struct{ err error }

func (w town) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	out := map[im.Pair]im.Relation{}
	for _, p := range pairs {
		out[p] = im.Relation{
			Exist:   p.A != dave && p.B != dave,
			Blocked: p == im.PairOf(ann, cleo),
		}
	}
	return out, w.err
}

func (w town) Of(_ context.Context, groups []string) (map[string]im.Members, error) {
	out := map[string]im.Members{}
	for _, g := range groups {
		switch g {
		case staff:
			out[g] = im.Members{Users: []string{ann, bob, cleo}, MutedUntil: map[string]im.Time{cleo: im.Now() + 1e9}}
		case others:
			out[g] = im.Members{Users: []string{bob, cleo}, Muted: true, Staff: []string{cleo}}
		case choir:
			out[g] = im.Members{Users: append([]string{ann}, many(99)...)}
		case crowd:
			out[g] = im.Members{Users: append([]string{ann}, many(999)...)}
		}
	}
	return out, w.err
}

// many returns n users who sort after ann.
func many(n int) []string {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("x%015d", i)
	}
	return users
}

func signalEvent(t *testing.T, from, device string, c im.Conversation) event.Event {
	t.Helper()
	e, err := event.New(event.Signal, "test", string(c), event.Signalled{From: from, Device: device, Conversation: c, Frame: []byte(`{"type":"typing"}`)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSignals(t *testing.T) {
	const frame = `{"type":"typing"}`
	for _, tt := range []struct {
		name     string
		from     string
		in       im.Conversation
		policy   string
		one, two []string // what the gateways get
		want     error
	}{
		{name: "to a user and the other devices of one's own", from: ann, in: im.Direct(ann, bob),
			one: []string{frame + " except phone a:0"}, two: []string{frame + " b:0", frame + " except phone a:0"}},
		{name: "to a group one is in", from: bob, in: im.Group(staff),
			one: []string{frame + " a:0 c:0"}, two: []string{frame + " a:0", frame + " except phone b:0"}},
		{name: "to a user with whom there is a block", from: ann, in: im.Direct(ann, cleo), want: im.Denied},
		{name: "to a user that there is not", from: ann, in: im.Direct(ann, dave), want: im.NotFound},
		{name: "to a stranger where only friends may", from: ann, in: im.Direct(ann, bob), policy: im.DirectFriends, want: im.Denied},
		{name: "to a group in which one is muted", from: cleo, in: im.Group(staff), want: im.Denied},
		{name: "to a group in which all are muted", from: bob, in: im.Group(others), want: im.Denied},
		{name: "to a group one is not in", from: ann, in: im.Group(others), want: im.Denied},
		{name: "to a group that there is not", from: ann, in: im.Group(dave), want: im.Denied},
		{name: "to a conversation of others", from: ann, in: im.Direct(bob, cleo), want: im.Denied},
		{name: "to nowhere", from: ann, in: "x", want: im.Invalid},
		{name: "from nobody", from: "", in: im.Group(staff), want: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.policy == "" {
				tt.policy = im.DirectOpen
			}
			good := signalEvent(t, cleo, "web", im.Group(others)) // beside it in the batch
			err := signal(w.delivery(), town{}, town{}, newAcquaintance(town{}), tt.policy)(t.Context(), []event.Event{good, signalEvent(t, tt.from, "phone", tt.in)})
			var each fn.Each
			if tt.want == nil && err != nil || tt.want != nil && (!errors.As(err, &each) || each[0] != nil || !errors.Is(each[1], tt.want)) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			for gateway, want := range map[string][]string{
				"one": append([]string{frame + " except web c:0"}, tt.one...),
				"two": append([]string{frame + " b:0"}, tt.two...),
			} {
				if got := w.at(gateway); !slices.Equal(got, want) {
					t.Errorf("%s got %q, want %q", gateway, got, want)
				}
			}
		})
	}
}

func TestP7ASignalIsNotToldToACrowd(t *testing.T) {
	large := func(c im.Conversation) event.Event {
		e, err := event.New(event.Signal, "test", string(c), event.Signalled{From: ann, Device: "phone", Conversation: c, Frame: []byte(`"` + strings.Repeat("x", small) + `"`)})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, tt := range []struct {
		name string
		e    event.Event
		want error
	}{
		{"data in a small group", large(im.Group(staff)), nil},
		{"typing in a larger one", signalEvent(t, ann, "phone", im.Group(choir)), nil},
		{"data in a larger one", large(im.Group(choir)), im.TooLarge},
		{"typing in a crowd", signalEvent(t, ann, "phone", im.Group(crowd)), im.TooLarge},
	} {
		w := newWorld(t)
		err := signal(w.delivery(), town{}, town{}, newAcquaintance(town{}), im.DirectOpen)(t.Context(), []event.Event{tt.e})
		if !errors.Is(err, tt.want) || (len(w.requests) > 0) != (tt.want == nil) {
			t.Errorf("%s: error = %v, %d requests", tt.name, err, len(w.requests))
		}
	}
}

func TestASignalGoesNowhereIfItCannotBeToldWhoMay(t *testing.T) {
	w := newWorld(t)
	err := signal(w.delivery(), town{err: down}, town{}, newAcquaintance(town{}), im.DirectOpen)(t.Context(), []event.Event{signalEvent(t, ann, "phone", im.Direct(ann, bob))})
	if im.KindOf(err) != im.Unavailable || len(w.requests) > 0 {
		t.Errorf("error = %v, requests %q", err, w.requests)
	}
}

// HasWritten says that of the two bob alone has written.
func (w town) HasWritten(_ context.Context, c im.Conversation, user string, _ int) (bool, error) {
	return user == bob, w.err
}

func TestP7SignalsWithDataGoToWhoHasWritten(t *testing.T) {
	call := func(from string) event.Event {
		e, err := event.New(event.Signal, "test", "x", event.Signalled{From: from, Device: "phone", Conversation: im.Direct(ann, bob), Frame: []byte(`{"type":"signal","data":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	w := newWorld(t)
	to := signal(w.delivery(), town{}, town{}, newAcquaintance(town{}), im.DirectOpen)
	if err := to(t.Context(), []event.Event{call(ann)}); err != nil || len(w.requests) == 0 {
		t.Errorf("to bob, who has written: %v, %d requests", err, len(w.requests))
	}
	w.requests = nil
	if err := to(t.Context(), []event.Event{call(bob)}); !errors.Is(err, im.Denied) || len(w.requests) > 0 {
		t.Errorf("to ann, who has not: %v, %d requests", err, len(w.requests))
	}
	if err := to(t.Context(), []event.Event{signalEvent(t, bob, "phone", im.Direct(ann, bob))}); err != nil {
		t.Errorf("typing: %v", err)
	}
	friends := signal(w.delivery(), friendly{}, town{}, newAcquaintance(town{err: down}), im.DirectOpen)
	if err := friends(t.Context(), []event.Event{call(bob)}); err != nil {
		t.Errorf("between friends: %v", err)
	}
}

// friendly knows friends alone.
type friendly struct{}

func (friendly) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	out := map[im.Pair]im.Relation{}
	for _, p := range pairs {
		out[p] = im.Relation{Exist: true, Friends: true}
	}
	return out, nil
}
