package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestP4EachConnectionsMessagesArriveInOrder(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("LANES", "3")
	const peers, each = 12, 150
	var all sync.WaitGroup
	for range peers {
		p := s.dial(g, someone("web"))
		all.Go(func() {
			to := im.NewID()
			for i := range each {
				p.send(fmt.Sprint(i), to)
			}
			for i := range each {
				if f := <-p.frames; f.Type != frame.Accepted || f.ID != fmt.Sprint(i) {
					t.Errorf("answer %d is %+v", i, f)
				}
			}
		})
	}
	all.Wait()
	last := map[string]int{}
	for _, m := range s.arrived() {
		if m.ClientID != fmt.Sprint(last[m.From]) {
			t.Fatalf("%s arrived, want %d", m.ClientID, last[m.From])
		}
		last[m.From]++
	}
	if len(last) != peers {
		t.Errorf("messages of %d senders arrived, want %d", len(last), peers)
	}
}

// A client that sends on before it reads that a message was refused for a
// while, and then sends again what was refused, in order, keeps its order.
func TestP4OrderIsKeptWhenARequestFails(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("LANES", "1")
	var mu sync.Mutex
	var order []string
	requests := 0
	s.onIngest(func(ctx context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests%3 == 1 { // the first one, too
			time.Sleep(5 * time.Millisecond) // more comes meanwhile
			replies := make([]fn.Reply[event.Placed], len(batch))
			for i := range replies {
				replies[i].Err = im.Errorf(im.Unavailable, "Kafka rests")
			}
			return replies
		}
		for _, m := range batch {
			order = append(order, m.ClientID)
		}
		return accept(ctx, batch)
	})
	p, to := s.dial(g, someone("web")), im.NewID()
	const n = 300
	pending := make([]string, n) // in their order
	for i := range pending {
		pending[i] = fmt.Sprintf("%03d", i)
	}
	written := map[string]bool{}
	for deadline := time.Now().Add(patience); len(pending) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are pending still", len(pending))
		}
		for _, id := range pending[:min(len(pending), 40)] { // a window, as a client has
			if !written[id] {
				written[id] = true
				p.send(id, to)
			}
		}
		switch f := <-p.frames; f.Type {
		case frame.Accepted:
			pending = slices.DeleteFunc(pending, func(id string) bool { return id == f.ID })
		case frame.Refused:
			written[f.ID] = false
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(order) < n || !slices.IsSorted(order) {
		t.Errorf("accepted in the order %v", order)
	}
	if requests < 4 {
		t.Errorf("%d requests prove nothing", requests)
	}
}

// A message that its sender has given up holds nothing up for long, and other
// conversations not at all.
func TestAMessageThatDoesNotComeAgainHoldsUpOnlyItsConversation(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("LANES", "1")
	s.onIngest(func(ctx context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
		replies := accept(ctx, batch)
		for i, m := range batch {
			if m.ClientID == "given-up" {
				replies[i] = fn.Reply[event.Placed]{Err: im.Errorf(im.Overloaded, "too much")}
			}
		}
		return replies
	})
	p, to := s.dial(g, someone("web")), im.NewID()
	p.send("given-up", to)
	p.next(frame.Refused)
	p.send("elsewhere", im.NewID())
	p.next(frame.Accepted)
	p.send("held", to)
	if f := p.next(frame.Refused); f.Kind != im.Unavailable || f.RetryAfterMS == 0 {
		t.Errorf("held back by %+v", f)
	}
	imtest.Eventually(t, "it is taken to be given up", func() error {
		p.send("held", to)
		if f := <-p.frames; f.Type != frame.Accepted {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
}

func TestP7WhoeverSendsFasterThanIsTakenWaits(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("LANES", "2")
	release := make(chan struct{})
	fast := someone("web")
	s.onIngest(func(ctx context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
		if slices.ContainsFunc(batch, func(m event.Submitted) bool { return m.From == fast.User }) {
			<-release
		}
		return accept(ctx, batch)
	})
	p := s.dial(g, fast)
	const n = 1000
	for i := range n {
		p.send(fmt.Sprint(i), im.NewID())
	}
	// Connections of the other lane are not held up.
	imtest.Eventually(t, "somebody else is answered", func() error {
		other := s.dial(g, someone("web"))
		defer other.ws.Close()
		other.send("m1", im.NewID())
		select {
		case <-other.frames:
			return nil
		case <-time.After(50 * time.Millisecond):
			return fmt.Errorf("no answer")
		}
	})
	if got := len(s.arrived()); got > 65 { // and one of the other
		t.Errorf("%d messages are in flight, want 64 at most", got)
	}
	close(release)
	for i := range n {
		if f := p.next(frame.Accepted); f.ID != fmt.Sprint(i) {
			t.Fatalf("answer %d is %+v", i, f)
		}
	}
}
