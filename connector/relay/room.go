package relay

import (
	"context"
	"sync/atomic"
)

const (
	// maxBacklog is the most bytes of records of a partition that wait here,
	// beyond the last fetch.
	maxBacklog = 8 << 20

	maxFetches = 16 // that wait to be taken in
)

// room bounds what is held of a partition. There is always room for one fetch;
// for more, as long as the partition has not too much and all together have not.
type room struct {
	all   *atomic.Int64 // bytes held of all partitions
	most  int64         // of them
	held  atomic.Int64  // bytes of this one
	span  atomic.Int64  // records from its first that is not over
	freed chan struct{}
}

func (r *room) take(n int64) {
	r.held.Add(n)
	r.all.Add(n)
}

func (r *room) free(n int64) {
	r.held.Add(-n)
	r.all.Add(-n)
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

// wait waits until there is room for a fetch. The error is that of ctx.
func (r *room) wait(ctx context.Context) error {
	for ctx.Err() == nil && r.full() {
		select {
		case <-r.freed:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (r *room) full() bool {
	held := r.held.Load()
	return held > 0 && (held >= maxBacklog || r.span.Load() >= maxSpan || r.all.Load() >= r.most)
}
