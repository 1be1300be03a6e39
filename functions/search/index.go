package search

import (
	"context"
	"fmt"
	"time"
)

// An indexer brings the index of searches up to date.
type indexer interface {
	// IndexSearch does so for the next n conversations, and reports whether
	// these were the last: the next call begins anew.
	IndexSearch(ctx context.Context, n int) (done bool, err error)
}

const (
	perStep   = 200              // conversations
	indexTime = 20 * time.Second // at most, of the minute that there is
)

// index walks through all conversations, or through as many as it has the time
// for, which is half of what ctx leaves it at most: the next time it goes on
// where it stopped.
func index(in indexer) func(context.Context) error {
	return func(ctx context.Context) error {
		enough := time.Now().Add(indexTime)
		if deadline, ok := ctx.Deadline(); ok {
			enough = time.Now().Add(min(indexTime, time.Until(deadline)/2))
		}
		for time.Now().Before(enough) {
			done, err := in.IndexSearch(ctx, perStep)
			if err != nil {
				return fmt.Errorf("indexing messages: %w", err)
			}
			if done {
				return nil
			}
		}
		return nil
	}
}
