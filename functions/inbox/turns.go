package inbox

import (
	"context"
	"sync"
)

// Turns keep the appends of one process that go to the same inboxes out of
// each other's way. Nothing depends on them but speed: those of several
// partitions would conflict more often than not when few users write much
// (BenchmarkAppend), and other processes are not held up.
type turns struct {
	mu   sync.Mutex
	held map[string]chan struct{} // by user; closed when their turn is over
}

// take waits until nobody else is at the inboxes of these users, who are
// sorted, so that no two wait for each other in a circle. The caller calls end
// even after an error, which is that of ctx.
func (t *turns) take(ctx context.Context, users []string) (end func(), err error) {
	over := make(chan struct{})
	taken := 0
	end = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, user := range users[:taken] {
			delete(t.held, user)
		}
		close(over)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make(map[string]chan struct{})
	}
	for taken < len(users) {
		other, busy := t.held[users[taken]]
		if !busy {
			t.held[users[taken]] = over
			taken++
			continue
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			err = ctx.Err()
		}
		t.mu.Lock()
		if err != nil {
			return end, err
		}
	}
	return end, nil
}
