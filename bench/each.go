package main

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// each calls f for 0 to n-1, some at a time, until one fails.
func each(ctx context.Context, n, atATime int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}
