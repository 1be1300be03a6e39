// Package retry is when to try again what has failed: after how long, and
// whether at all for the moment. It does not know what is tried, nor which
// failures may pass.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d, and returns why ctx has ended if it does so first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A Backoff is how long to wait after failures in a row: First after one, twice
// as long after each that follows, and Limit at most. Both are above 0. What is
// left to chance keeps those who failed together from coming back together, in
// two of the ways of Exponential Backoff And Jitter (AWS Architecture Blog,
// 2015).
type Backoff struct{ First, Limit time.Duration }

// Bound is the longest wait after so many failures; none count as one.
func (b Backoff) Bound(failures int) time.Duration {
	d := b.First
	for ; failures > 1 && d < b.Limit; failures-- {
		d *= 2
	}
	return min(d, b.Limit)
}

// Full returns anything up to Bound ("full jitter").
func (b Backoff) Full(failures int) time.Duration { return rand.N(b.Bound(failures)) }

// Equal returns half of Bound at least ("equal jitter").
func (b Backoff) Equal(failures int) time.Duration { return Jitter(b.Bound(failures)) }

// Jitter returns anything from half of d to d.
func Jitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }
