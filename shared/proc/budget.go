package proc

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// A Budget is bytes that are lent and given back. It is safe for concurrent use.
type Budget struct {
	size int64
	free *semaphore.Weighted
	lent atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(size int64) *Budget { return &Budget{size: size, free: semaphore.NewWeighted(size)} }

// Size returns how many bytes there are in all.
func (b *Budget) Size() int64 { return b.size }

// Lent returns how many of them are lent.
func (b *Budget) Lent() int64 { return b.lent.Load() }

// TryTake takes n bytes and reports true, unless fewer are left or others wait.
func (b *Budget) TryTake(n int64) bool {
	if !b.free.TryAcquire(n) {
		return false
	}
	b.lent.Add(n)
	return true
}

// Take takes n bytes as soon as there are as many. It fails with the error of
// ctx, which it waits for if there never are.
func (b *Budget) Take(ctx context.Context, n int64) error {
	if err := b.free.Acquire(ctx, n); err != nil {
		return err
	}
	b.lent.Add(n)
	return nil
}

// Give gives n bytes back.
func (b *Budget) Give(n int64) {
	b.lent.Add(-n)
	b.free.Release(n)
}
