package client

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// A backoff counts failures and says how long to wait after each: anything up
// to a bound that doubles ("full jitter", as in Exponential Backoff And Jitter,
// AWS Architecture Blog, 2015), so that clients that were cut off together do
// not come back together.
type backoff struct{ n int }

func (b *backoff) next() time.Duration {
	most := min(backoffFirst<<min(b.n, 10), backoffMost)
	b.n++
	return rand.N(most)
}
