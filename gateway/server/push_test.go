package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func message(text string) json.RawMessage {
	return fmt.Appendf(nil, `{"id":"019b7d5f-1c2e-7e66-8000-000000000001","text":%q}`, text)
}

func TestMessagesArePushedToAllDevicesWithEachUsersSeq(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	ann := someone("web")
	phone := im.Caller{User: ann.User, Session: im.NewID(), Device: "phone", Platform: "ios"}
	bob := someone("web")
	pa, pp, pb := s.dial(g, ann), s.dial(g, phone), s.dial(g, bob)
	var events []event.Event
	for i := range 100 {
		events = append(events, s.sealed(event.Push, event.Pushed{Message: message(fmt.Sprint(i)), To: []event.Recipient{
			{User: ann.User, Seq: int64(i + 1)}, {User: bob.User, Seq: int64(i + 101)}, {User: im.NewID(), Seq: 5},
		}}))
	}
	for _, r := range s.push(g, events...) {
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	for _, tt := range []struct {
		p     *peer
		first int64
	}{{pa, 1}, {pp, 1}, {pb, 101}} {
		for i := range 100 {
			f := tt.p.next(frame.Message)
			if f.Seq != tt.first+int64(i) || !bytes.Equal(f.Message, message(fmt.Sprint(i))) {
				t.Fatalf("push %d is seq %d, %s", i, f.Seq, f.Message)
			}
		}
	}
}

func TestOtherFramesArePushedAsTheyAreExceptToOneDevice(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	ann := someone("web")
	phone := im.Caller{User: ann.User, Session: im.NewID(), Device: "phone", Platform: "ios"}
	pa, pp := s.dial(g, ann), s.dial(g, phone)
	s.push(g, s.sealed(event.Push, event.Pushed{
		Frame: []byte(`{"type":"typing","conversation":"c","from":"f"}`), Except: ann.Device, To: []event.Recipient{{User: ann.User}},
	}))
	if f := pp.next(frame.Typing); f.Conversation != "c" || f.From != "f" {
		t.Errorf("got %+v", f)
	}
	pa.quiet(50 * time.Millisecond)
}

func TestP6NothingIsPushedThatIsNotSealed(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	p := s.dial(g, someone("web"))
	push := event.Pushed{Message: message("x"), To: []event.Recipient{{User: p.User, Seq: 1}}}
	good := s.sealed(event.Push, push)

	unsealed, changed, renamed := good, good, good
	unsealed.Seal = ""
	changed.Data = bytes.Replace(good.Data, []byte(`"x"`), []byte(`"y"`), 1)
	renamed.Type = event.SessionEnded
	foreign := good
	ring, err := event.ParseKeyring("k1:" + strings.Repeat("QUJD", 11))
	if err != nil {
		t.Fatal(err)
	}
	ring.Sign(&foreign)
	for name, e := range map[string]event.Event{
		"no seal": unsealed, "a seal of other data": changed, "a seal of another type": renamed, "a seal of another key": foreign,
		"a type that is not pushed":  s.sealed(event.MessageAccepted, push),
		"neither message nor frame":  s.sealed(event.Push, event.Pushed{To: push.To}),
		"an end without a reason":    s.sealed(event.SessionEnded, event.Ended{Session: p.Session}),
		"an end of nothing":          s.sealed(event.SessionEnded, event.Ended{Reason: "signed-out"}),
		"an end for an empty reason": s.sealed(event.SessionEnded, event.Ended{Session: p.Session, Reason: "whim"}),
	} {
		if r := s.push(g, e)[0]; r.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d, want 422", name, r.Status)
		}
		batch := s.push(g, e, good)
		if batch[0].Status != http.StatusUnprocessableEntity || batch[1].Err() != nil {
			t.Errorf("%s in a batch: status %d and %d, want 422 and success", name, batch[0].Status, batch[1].Status)
		}
		p.next(frame.Message) // the good one
	}
	p.quiet(20 * time.Millisecond)
}

func TestASlowReaderIsClosedAndNobodyElseNotices(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	slow, quick := s.open(g, someone("web")), s.dial(g, someone("web"))
	text := strings.Repeat("x", 16<<10)
	to := []event.Recipient{{User: slow.User}, {User: quick.User}}
	var events []event.Event
	imtest.Eventually(t, "the slow one is closed", func() error {
		for range 50 {
			to[0].Seq++
			to[1].Seq++
			events = append(events, s.sealed(event.Push, event.Pushed{Message: message(text), To: to}))
		}
		s.push(g, events...)
		for range events {
			quick.next(frame.Message)
		}
		events = nil
		if slices.Contains(g.hub.Users(), slow.User) {
			return errors.New("it is there still")
		}
		return nil
	})
	slow.read()
	for range slow.frames {
	}
	quick.say(`{"type":"ping"}`)
	quick.next(frame.Pong)
}

func TestP3WhoeverMissesAPushIsTold(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("ANTI_ENTROPY", "100ms")
	ann := someone("web")
	p := s.dial(g, ann)
	raise := func(head int64) {
		t.Helper()
		if err := s.redis.RaiseHeads(t.Context(), map[string]int64{ann.User: head}); err != nil {
			t.Fatal(err)
		}
	}
	raise(3)
	if f := p.next(frame.Behind); f.Head != 3 {
		t.Errorf("told of %d, want 3", f.Head)
	}
	p.quiet(350 * time.Millisecond) // once is enough
	s.push(g, s.sealed(event.Push, event.Pushed{Message: message("x"), To: []event.Recipient{{User: ann.User, Seq: 4}}}))
	p.next(frame.Message)
	raise(4)
	p.quiet(350 * time.Millisecond) // was pushed
	raise(5)
	if f := p.next(frame.Behind); f.Head != 5 {
		t.Errorf("told of %d, want 5", f.Head)
	}
	// A second device is welcomed with the head, and not told again.
	phone := s.dial(g, im.Caller{User: ann.User, Session: im.NewID(), Device: "phone", Platform: "ios"})
	if phone.welcome.Head != 5 {
		t.Errorf("welcomed with %d, want 5", phone.welcome.Head)
	}
	phone.quiet(350 * time.Millisecond)
}

func TestP3WhatRedisHasForgottenIsAskedOfTheStore(t *testing.T) {
	s := newSystem(t)
	ann := someone("web")
	s.heads = func(event.Heads) (event.HeadsAnswer, error) {
		return event.HeadsAnswer{Heads: map[string]int64{ann.User: 8}}, nil
	}
	g := s.gateway("ANTI_ENTROPY", "50ms")
	if err := s.redis.RaiseHeads(t.Context(), map[string]int64{ann.User: 2}); err != nil {
		t.Fatal(err)
	}
	p := s.dial(g, ann)
	if p.welcome.Head != 2 {
		t.Fatalf("welcomed with %d, want what Redis says", p.welcome.Head)
	}
	// Redis is wrong, which a round in ten finds out.
	if f := p.next(frame.Behind); f.Head != 8 {
		t.Errorf("told of %d, want 8", f.Head)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ask := range s.asked {
		if !ask.Exact || len(ask.Users) != 1 || ask.Users[0] != ann.User {
			t.Errorf("asked %+v", ask)
		}
	}
}

func TestAConnectionIsClosedWhenItsSessionEnds(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("ANTI_ENTROPY", "100ms")
	t.Run("at once if the gateway is told", func(t *testing.T) {
		p, other := s.dial(g, someone("web")), s.dial(g, someone("web"))
		if err := s.push(g, s.sealed(event.SessionEnded, event.Ended{Session: p.Session, Reason: "signed-out"}))[0].Err(); err != nil {
			t.Fatal(err)
		}
		p.closed(frame.CloseSignedOut)
		other.quiet(50 * time.Millisecond)
	})
	t.Run("soon if it is not", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		if err := s.redis.MarkEnded(t.Context(), p.Session, time.Minute); err != nil {
			t.Fatal(err)
		}
		p.closed(frame.CloseSignedOut)
	})
}
