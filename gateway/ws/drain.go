package ws

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
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
				c.drain(spread(0, h.Spread))
			}
		})
	}
	conns := h.ring.all()
	for i, c := range conns {
		select {
		case work <- c:
			continue
		case <-ctx.Done():
		}
		for _, c := range conns[i:] {
			c.Close(frame.CloseDraining, spread(0, h.Spread))
		}
		break
	}
	close(work)
	all.Wait()
	// Who was being let in when this began closes by itself.
	for h.count.Load() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("closing connections: %d are left: %w", h.count.Load(), ctx.Err())
		}
	}
	return nil
}

// drain closes c when what it has in flight is answered, and waits until
// nothing is left of it.
func (c *Conn) drain(retry time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settling = true
	c.changed.Broadcast()
	impatient := false
	timer := time.AfterFunc(settleWait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		impatient = true
		c.changed.Broadcast()
	})
	defer timer.Stop()
	for c.inFlight > 0 && c.state < closing && !impatient {
		c.changed.Wait()
	}
	c.shut(frame.CloseDraining, retry)
	for c.state != closed { // reads and writes have deadlines
		c.changed.Wait()
	}
}
