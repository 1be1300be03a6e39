package away

import (
	"context"
	"fmt"
	"time"
)

const sweepBatch = 1000

type sweeper interface {
	// OverdueNotification returns for how long one has been due that nobody has
	// taken, 0 if none is.
	OverdueNotification(ctx context.Context) (time.Duration, error)
	// SweepNotifications deletes those that were done age ago, and returns how
	// many.
	SweepNotifications(ctx context.Context, age time.Duration, limit int) (int, error)
}

// sweep sends what others have left, and forgets what was sent so long ago
// that the next one need not wait for it. It may be done twice at once, and be
// cut off at any step.
func sweep(s *sender, store sweeper) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("sending notifications: %w", err)
		}
		overdue, err := store.OverdueNotification(ctx)
		if err != nil {
			return err
		}
		s.metrics.overdue.Set(overdue.Seconds())
		for ctx.Err() == nil {
			n, err := store.SweepNotifications(ctx, s.at.Every, sweepBatch)
			if err != nil {
				return err
			}
			if n < sweepBatch {
				return nil
			}
		}
		return nil
	}
}
