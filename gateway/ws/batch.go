package ws

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/event"
)

// What goes to a function in one request, and what waits for the next.
const (
	batchEvents = 256
	batchBytes  = 512 << 10
	laneQueue   = 1024
)

// A batcher works on what is put into its queue, a batch at a time: what comes
// while one is under way is the next. Batches grow under load, and are of one
// when there is none.
type batcher[T any] struct {
	in   chan T
	size func(T) int // bytes
	work func(context.Context, []T)
}

// offer puts v into the queue, or returns false if it is full.
func (b *batcher[T]) offer(v T) bool {
	select {
	case b.in <- v:
		return true
	default:
		return false
	}
}

// put puts v into the queue, or returns false if there is no room for wait.
func (b *batcher[T]) put(v T, wait time.Duration) bool {
	if b.offer(v) {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case b.in <- v:
		return true
	case <-timer.C:
		return false
	}
}

// run works until ctx is done, and then on what is in the queue.
func (b *batcher[T]) run(ctx context.Context) {
	var next []T // what did not fit into the batch before
	for {
		batch := next
		if len(batch) == 0 {
			select {
			case v := <-b.in:
				batch = append(batch, v)
			case <-ctx.Done():
				select {
				case v := <-b.in:
					batch = append(batch, v)
				default:
					return
				}
			}
		}
		batch, next = b.fill(batch)
		b.work(ctx, batch)
	}
}

// fill adds to a batch what waits, as far as it fits.
func (b *batcher[T]) fill(batch []T) (full, next []T) {
	bytes := b.size(batch[0])
	for len(batch) < batchEvents {
		select {
		case v := <-b.in:
			n := b.size(v)
			if bytes+n > batchBytes {
				return batch, append(next, v)
			}
			bytes += n
			batch = append(batch, v)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func eventSize(e *event.Event) int { return len(e.Data) + 512 }
