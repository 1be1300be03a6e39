package ws

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/retry"
)

// Drain takes no new connections and closes all it has, each after its
// messages in flight were answered. Each client is told another time to come
// back at, so that the remaining gateways are not stormed. It returns when all
// are gone or ctx is done.
func (h *Hub) Drain(ctx context.Context) error {
	h.draining.Store(true)
	work := make(chan *Conn)
	var all sync.WaitGroup
	for range drainers {
		all.Go(func() {
			for c := range work {
				c.drain(ctx, spread(0, h.Spread))
			}
		})
	}
	for _, c := range h.ring.all() {
		work <- c
	}
	close(work)
	all.Wait()
	// Who was being let in when this began closes by itself.
	for h.count.Load() > 0 {
		if err := retry.Sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("closing connections: %d are left: %w", h.count.Load(), err)
		}
	}
	return nil
}

// drain closes c when what it has in flight is answered, and waits until
// nothing is left of it, or ctx is done.
func (c *Conn) drain(ctx context.Context, retry time.Duration) {
	patient, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	defer context.AfterFunc(patient, c.wake)()
	defer context.AfterFunc(ctx, c.wake)()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.settling = true
	c.changed.Broadcast()
	for c.inFlight > 0 && c.state < closing && patient.Err() == nil {
		c.changed.Wait()
	}
	c.shut(frame.CloseDraining, retry)
	for c.state != closed && ctx.Err() == nil {
		c.changed.Wait()
	}
}

// wake has everybody look again who waits for a change of c.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}
