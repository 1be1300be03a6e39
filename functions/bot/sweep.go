package bot

import (
	"context"
	"errors"
	"fmt"
)

const (
	sweepBatch = 100
	mostErrors = 5 // that are told of in full
)

type sweepStore interface {
	// OrphanedBots returns bots whose owners were deleted.
	OrphanedBots(ctx context.Context, limit int) ([]string, error)
	// EndExpiredTokens ends tokens that have expired and returns how many.
	EndExpiredTokens(ctx context.Context, limit int) (int, error)
}

type sweeper struct {
	store  sweepStore
	remove func(ctx context.Context, owner, bot string) error
}

// sweep may be done twice at once, and be cut off at any step. Of the sessions
// that it ends, session-sweep tells.
func (s *sweeper) sweep(ctx context.Context) error {
	return errors.Join(s.expired(ctx), s.orphans(ctx))
}

func (s *sweeper) expired(ctx context.Context) error {
	for n := sweepBatch; n == sweepBatch && ctx.Err() == nil; {
		var err error
		if n, err = s.store.EndExpiredTokens(ctx, sweepBatch); err != nil {
			return fmt.Errorf("ending tokens that have expired: %w", err)
		}
	}
	return nil
}

func (s *sweeper) orphans(ctx context.Context) error {
	bots, err := s.store.OrphanedBots(ctx, sweepBatch)
	if err != nil {
		return fmt.Errorf("looking for bots without an owner: %w", err)
	}
	var errs []error
	for _, b := range bots {
		if ctx.Err() != nil {
			break
		}
		if err := s.remove(ctx, "", b); err != nil && len(errs) < mostErrors {
			errs = append(errs, fmt.Errorf("bot %s: %w", b, err))
		}
	}
	return errors.Join(errs...)
}
