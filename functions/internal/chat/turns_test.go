package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// clerk gives places and dawdles before and after, as Redis does.
type clerk struct{ last atomic.Int64 }

func (c *clerk) Place(_ context.Context, reqs []im.PlaceRequest) []im.PlaceResult {
	out := make([]im.PlaceResult, len(reqs))
	for i := range reqs {
		at := im.Time(c.last.Add(1))
		out[i].Place = im.Place{Time: at, ID: im.NewMessageID(at)}
	}
	for range rand.IntN(50) {
		runtime.Gosched()
	}
	return out
}

// scribe writes down in which order events have their turn.
type scribe struct {
	mu    sync.Mutex
	times map[im.Conversation][]im.Time
}

func (s *scribe) Enqueue(_ context.Context, _ string, events []event.Event) func() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		var a event.Accepted
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return func() []error { return []error{err} }
		}
		s.times[a.Message.Conversation] = append(s.times[a.Message.Conversation], a.Message.Time)
	}
	return func() []error { return make([]error, len(events)) }
}

func TestP4BatchesThatMeetInAConversationAreWrittenInTheOrderOfTheirPlaces(t *testing.T) {
	f := newFixture(t)
	written := &scribe{times: make(map[im.Conversation][]im.Time)}
	f.places, f.log = &clerk{}, written
	f.now = func() im.Time { return noon }
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			var events []event.Event
			for j, to := range []string{"u:" + bob, "g:" + staff, "u:" + dave} {
				e, err := event.New(event.MessageSubmitted, "test", "", event.Submitted{
					From: ann, Device: "d", At: noon, Draft: im.Draft{ClientID: fmt.Sprint(i, "-", j), To: to, Text: "hi"},
				})
				if err != nil {
					t.Error(err)
					return
				}
				events = append(events, e)
			}
			for _, r := range f.batch(t.Context(), events) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		})
	}
	all.Wait()
	if len(written.times) != 3 {
		t.Fatalf("%d conversations were written", len(written.times))
	}
	for conv, times := range written.times {
		if len(times) != 100 {
			t.Errorf("%d messages of %s were written", len(times), conv)
		}
		for i := 1; i < len(times); i++ {
			if times[i] < times[i-1] {
				t.Errorf("in %s a message was written after a later one", conv)
				break
			}
		}
	}
}

func TestP7AMessageWhoseTurnComesTooLateIsNotPlaced(t *testing.T) {
	f := newFixture(t)
	conv := im.Direct(ann, bob)
	done := f.turns.take([]*message{{conversation: conv}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	e, err := event.New(event.MessageSubmitted, "test", "", event.Submitted{From: ann, Device: "d", At: noon, Draft: im.Draft{ClientID: "1", To: "u:" + bob, Text: "hi"}})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-ctx.Done()
		done()
	}()
	f.now = func() im.Time { return noon }
	if got := f.batch(ctx, []event.Event{e}); im.KindOf(got[0].Err) != im.Unavailable || len(f.desk.calls) > 0 {
		t.Errorf("%+v, placed %v", got, f.desk.calls)
	}
}
