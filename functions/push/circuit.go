package push

import (
	"sync"
	"time"
)

const (
	holdOff    = time.Second
	maxHoldOff = 30 * time.Second
	maxCircuit = 10_000 // gateways remembered
)

// circuit remembers which gateways do not answer, so that one that is frozen
// does not hold up what is for the others, batch after batch. It is left alone
// for a second, then for twice as long, and so on.
type circuit struct {
	now func() time.Time

	mu     sync.Mutex
	failed map[string]failure
}

type failure struct {
	until time.Time
	held  time.Duration
}

func newCircuit() *circuit {
	return &circuit{now: time.Now, failed: make(map[string]failure)}
}

// allow reports whether a gateway may be posted to.
func (c *circuit) allow(gateway string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.failed[gateway]
	return !ok || !c.now().Before(f.until)
}

func (c *circuit) fail(gateway string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxCircuit {
		clear(c.failed)
	}
	held := max(holdOff, min(2*c.failed[gateway].held, maxHoldOff))
	c.failed[gateway] = failure{until: c.now().Add(held), held: held}
}

func (c *circuit) succeed(gateway string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, gateway)
}
