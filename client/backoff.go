package client

import (
	"time"

	"github.com/tidings-im/tidings/shared/retry"
)

const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// A backoff counts failures and says how long to wait after each.
type backoff struct{ n int }

func (b *backoff) next() time.Duration {
	b.n++
	return retry.Backoff{First: backoffFirst, Limit: backoffMost}.Full(b.n)
}
