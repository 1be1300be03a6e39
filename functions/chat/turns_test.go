package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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

// slowly grants files when it is let to.
type slowly struct {
	*shelf
	asked, granted chan struct{}
}

func (s *slowly) GrantFiles(ctx context.Context, grants []im.FileGrant) error {
	s.asked <- struct{}{}
	<-s.granted
	return s.shelf.GrantFiles(ctx, grants)
}

func TestP7AFileThatIsGrantedSlowlyHoldsUpItsConversationAlone(t *testing.T) {
	f := newFixture(t)
	written := &scribe{times: make(map[im.Conversation][]im.Time)}
	slow := &slowly{f.shelf, make(chan struct{}, 1), make(chan struct{})}
	f.places, f.log, f.files = &clerk{}, written, slow
	send := func(all ...event.Submitted) chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, r := range f.send(t, all...) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		}()
		return done
	}
	within := func(what string, done chan struct{}) {
		t.Helper()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s waits", what)
		}
	}
	first := send(attach(ann, "1", photo, ""), text(ann, "u:"+dave, "2", "hi"), text(ann, "u:"+bob, "3", "that was it"))
	within("the grant", slow.asked)
	behind := send(text(ann, "u:"+bob, "4", "did you get it?"))
	within("the conversation of a message in the same batch", send(text(ann, "u:"+dave, "5", "hello?")))
	within("another conversation", send(text(ann, "g:"+staff, "6", "hi all")))
	others := make(chan struct{})
	go func() {
		defer close(others)
		for range 500 { // as many as there could be locks that are shared
			f.turns.take([]*message{{conversation: im.Direct(ann, im.NewID())}})()
		}
	}()
	within("one of many others", others)
	for _, done := range []chan struct{}{first, behind} {
		select {
		case <-done:
			t.Error("a message of the conversation did not wait")
		default:
		}
	}
	close(slow.granted)
	within("the first batch", first)
	within("what came behind it", behind)
	if times := written.times[im.Direct(ann, bob)]; len(times) != 3 || !slices.IsSorted(times) {
		t.Errorf("in the conversation are written %v", times)
	}
	if len(f.turns.now) > 0 {
		t.Errorf("%d turns have not ended", len(f.turns.now))
	}
}
