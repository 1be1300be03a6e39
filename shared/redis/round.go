package redis

import (
	"context"
	"sync"

	"github.com/tidings-im/tidings/shared/proc"
)

// rounds have a thing read once for all who want it at the same time. Nobody
// gets what began to be read before they asked, which may be older than what
// they have been told of: who asks while it is read waits for the next round,
// which is one for all of them. (golang.org/x/sync/singleflight would let them
// join the one that is under way.)
type rounds[T any] struct {
	mu      sync.Mutex
	running map[string]*round[T]
}

type round[T any] struct {
	read  func() (T, error)
	next  *round[T]     // nil if nobody waits for it
	done  chan struct{} // closed when value and err are there
	value T
	err   error
}

// do returns what read returns, or another's read that begins after this call.
// Reading goes on if ctx ends.
func (r *rounds[T]) do(ctx context.Context, key string, read func() (T, error)) (T, error) {
	mine := r.join(key, read)
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (r *rounds[T]) join(key string, read func() (T, error)) *round[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.running[key]
	if now != nil && now.next != nil {
		return now.next
	}
	mine := &round[T]{read: read, done: make(chan struct{})}
	if now != nil {
		now.next = mine
		return mine
	}
	if r.running == nil {
		r.running = make(map[string]*round[T])
	}
	r.running[key] = mine
	go r.run(key, mine)
	return mine
}

// run reads rounds until nobody waits for another.
func (r *rounds[T]) run(key string, now *round[T]) {
	for now != nil {
		now.err = proc.Protect(func() (err error) {
			now.value, err = now.read()
			return err
		})
		r.mu.Lock()
		next := now.next
		if next == nil {
			delete(r.running, key)
		} else {
			r.running[key] = next
		}
		r.mu.Unlock()
		close(now.done)
		now = next
	}
}
