package ws

import (
	"context"
	"sync"
	"time"
)

// ringSlots is into how many parts what is done to all connections is cut.
const ringSlots = 100

// A ring is all connections in a few slots that are gone through one after
// another, so that what each needs now and then takes no timer of its own and
// comes spread over the period.
type ring struct {
	mu    sync.Mutex
	next  int
	slots [ringSlots][]*Conn
}

func (r *ring) add(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.slot = r.next
	r.next = (r.next + 1) % ringSlots
	c.place = len(r.slots[c.slot])
	r.slots[c.slot] = append(r.slots[c.slot], c)
}

func (r *ring) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[c.slot]
	last := s[len(s)-1]
	s[c.place], last.place = last, c.place
	s[len(s)-1] = nil
	r.slots[c.slot] = s[:len(s)-1]
}

// all returns all connections.
func (r *ring) all() []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Conn
	for _, s := range r.slots {
		all = append(all, s...)
	}
	return all
}

// walk calls f with the connections of one slot after another, all of them
// once in a period, until ctx is done. What was missed while f took long is
// made up for.
func (r *ring) walk(ctx context.Context, period time.Duration, f func([]*Conn)) {
	tick := time.NewTicker(max(period/ringSlots, time.Millisecond))
	defer tick.Stop()
	begin, done := time.Now(), 0
	var conns []*Conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int(time.Since(begin) * ringSlots / period)
		done = max(done, due-ringSlots) // once round is enough
		for ; done < due && ctx.Err() == nil; done++ {
			r.mu.Lock()
			conns = append(conns[:0], r.slots[done%ringSlots]...)
			r.mu.Unlock()
			if len(conns) > 0 {
				f(conns)
			}
			clear(conns)
		}
	}
}
