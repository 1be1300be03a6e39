package ws

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
)

func (w *world) looks() (presented, done [][]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.presented), slices.Clone(w.done)
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func TestWhoMayHaveComeOrGoneIsLookedAt(t *testing.T) {
	refused := []fn.Result{{Status: 204}, {Status: 503}}
	for _, tt := range []struct {
		name    string
		present func() ([]fn.Result, error)
		after   time.Duration
		looks   int
		done    int
	}{
		{name: "within a second", after: dueEvery, looks: 1, done: 1},
		{name: "again and not soon, if push-presence does not answer", present: func() ([]fn.Result, error) { return nil, errors.New("down") },
			after: dueEvery + duePause + dueEvery - 1, looks: 1},
		{name: "all of them, if it could not look at one", present: func() ([]fn.Result, error) { return refused, nil },
			after: dueEvery + duePause + dueEvery, looks: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world, h *Hub) {
				w.set(func() { w.due, w.present = []string{"ann", "bob"}, tt.present })
				settle(tt.after)
				presented, done := w.looks()
				if len(presented) != tt.looks || len(done) != tt.done || !slices.Equal(presented[0], []string{"ann", "bob"}) {
					t.Errorf("presented %v, done %v", presented, done)
				}
				w.set(func() { w.present = nil })
			})
		})
	}
}

func TestWhoComesIsLookedAtSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		settle(10 * dueEvery)
		w.set(func() { w.due = []string{"ann"}; w.taken = 0 })
		for range 50 { // who come together are one look
			connect(h, "ann", time.Hour)
		}
		settle(4 * dueApart)
		presented, done := w.looks()
		if len(presented) != 1 || len(done) != 1 {
			t.Errorf("presented %v, done %v", presented, done)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.taken > 4 {
			t.Errorf("%d questions", w.taken)
		}
	})
}

func TestMessagesPassWhilePresenceHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		hang := make(chan struct{})
		w.set(func() {
			w.due = []string{"ann"}
			w.present = func() ([]fn.Result, error) { w.mu.Unlock(); <-hang; w.mu.Lock(); return nil, errors.New("down") }
		})
		settle(2 * dueEvery)
		c := connect(h, "ann", time.Hour)
		c.frames()
		c.in <- `{"type":"send","id":"1","to":"u:bbbbbbbbbbbbbbbb","text":"hi"}`
		settle(time.Millisecond)
		if got := types(c.frames()); got != "accepted" {
			t.Errorf("got %q", got)
		}
		w.set(func() { w.present = nil })
		close(hang)
	})
}
