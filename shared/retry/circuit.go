package retry

import (
	"sync"
	"time"
)

const maxCircuit = 10_000 // names remembered

// A Circuit remembers which of many others do not answer, by their names, so
// that one that is down or hangs takes no time from the rest. It is to be left
// alone once it has failed some times in a row, for longer with each failure.
// Its methods may be called at the same time.
type Circuit struct {
	Now func() time.Time // time.Now, except in tests

	after int
	hold  Backoff

	mu     sync.Mutex
	failed map[string]failures
}

type failures struct {
	n     int
	until time.Time
}

// NewCircuit returns a circuit in which who has failed so many times in a row
// is left alone for as long as the bounds of hold say.
func NewCircuit(after int, hold Backoff) *Circuit {
	return &Circuit{Now: time.Now, after: after, hold: hold, failed: make(map[string]failures)}
}

// Wait returns for how long one is to be left alone; 0 is not at all.
func (c *Circuit) Wait(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.failed[name].until.Sub(c.Now()))
}

// Fail notes that one did not answer.
func (c *Circuit) Fail(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxCircuit {
		clear(c.failed)
	}
	f := c.failed[name]
	if f.n++; f.n >= c.after {
		f.until = c.Now().Add(c.hold.Bound(f.n - c.after + 1))
	}
	c.failed[name] = f
}

// Succeed notes that one did.
func (c *Circuit) Succeed(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, name)
}
