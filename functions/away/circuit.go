package away

import (
	"sync"
	"time"
)

const (
	holdOffAfter = 3 // failures in a row
	holdOff      = 10 * time.Second
	maxHoldOff   = 5 * time.Minute
	maxCircuit   = 10_000 // hosts remembered
)

// circuit remembers which hosts do not answer, so that one that is down or
// hangs takes no time from the others, whoever named it. It is left alone for
// ten seconds, then for twice as long, and so on.
type circuit struct {
	now func() time.Time

	mu     sync.Mutex
	failed map[string]failures
}

type failures struct {
	n     int
	until time.Time
	held  time.Duration
}

func newCircuit() *circuit {
	return &circuit{now: time.Now, failed: make(map[string]failures)}
}

// wait returns for how long a host is to be left alone; 0 is not at all.
func (c *circuit) wait(host string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.failed[host].until.Sub(c.now()))
}

func (c *circuit) fail(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxCircuit {
		clear(c.failed)
	}
	f := c.failed[host]
	if f.n++; f.n >= holdOffAfter {
		f.held = max(holdOff, min(2*f.held, maxHoldOff))
		f.until = c.now().Add(f.held)
	}
	c.failed[host] = f
}

func (c *circuit) succeed(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, host)
}
