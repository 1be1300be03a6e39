package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	sweepBatch = 500 // rows that are swept at a time

	// untoldAge is after how long a session that has ended is session-sweep's:
	// whoever ended it has given up by then.
	untoldAge = 15 * time.Second

	// endedAge is how long a session that has ended is kept.
	endedAge = 30 * 24 * time.Hour
)

type sweepStore interface {
	// Untold returns sessions that ended a while ago and of which Told was not
	// called.
	Untold(ctx context.Context, age time.Duration, limit int) ([]im.Session, error)
	// SweepTokens deletes refresh tokens that have expired, ends the sessions
	// that have none left, and returns how many tokens are gone.
	SweepTokens(ctx context.Context, limit int) (int, error)
	// SweepSessions deletes sessions that ended age ago and returns how many.
	SweepSessions(ctx context.Context, age time.Duration, limit int) (int, error)
}

type dueErasures interface {
	// DueErasures returns erasures that are due.
	DueErasures(ctx context.Context, limit int) ([]im.Erasure, error)
}

type sweeper struct {
	store    sweepStore
	erasures dueErasures
	end      *ender
	erase    *eraser
}

// sweep does what others have left: it tells of sessions that have ended,
// erases what is left of deleted users, and deletes what is of no use any more.
// It goes on with the rest if one of these fails. It may be done twice at once,
// and be cut off at any step.
func (s *sweeper) sweep(ctx context.Context) error {
	return errors.Join(
		inBatches(ctx, "telling of sessions that have ended", s.tellEnded),
		inBatches(ctx, "sweeping refresh tokens", func(ctx context.Context) (int, error) { return s.store.SweepTokens(ctx, sweepBatch) }),
		inBatches(ctx, "sweeping sessions", func(ctx context.Context) (int, error) { return s.store.SweepSessions(ctx, endedAge, sweepBatch) }),
		// Last, for it is what may take long.
		inBatches(ctx, "erasing what is left of deleted users", s.eraseDue),
	)
}

// inBatches calls f until there was less to do for it than a batch, or it
// failed, or until ctx is done: what is left then is of the next time.
func inBatches(ctx context.Context, doing string, f func(context.Context) (done int, err error)) error {
	for ctx.Err() == nil {
		n, err := f(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if n < sweepBatch {
			return nil
		}
	}
	return nil
}

func (s *sweeper) tellEnded(ctx context.Context) (int, error) {
	untold, err := s.store.Untold(ctx, untoldAge, sweepBatch)
	if err != nil {
		return 0, err
	}
	of := map[string][]string{}
	for _, u := range untold {
		of[u.User] = append(of[u.User], u.ID)
	}
	var failed failures
	for user, sessions := range of {
		if ctx.Err() != nil {
			break
		}
		failed.add(s.end.sessions(ctx, frame.CloseSignedOut, user, sessions...))
	}
	return len(untold), failed.err()
}

func (s *sweeper) eraseDue(ctx context.Context) (int, error) {
	due, err := s.erasures.DueErasures(ctx, sweepBatch)
	if err != nil {
		return 0, err
	}
	var failed failures
	for _, e := range due {
		if ctx.Err() != nil {
			break
		}
		failed.add(s.erase.user(ctx, e))
	}
	return len(due), failed.err()
}

// mostErrors is how many failures are told of in full.
const mostErrors = 5

// failures are those of things that do not depend on each other.
type failures struct {
	n    int
	some []error
}

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	if f.n++; f.n <= mostErrors {
		f.some = append(f.some, err)
	}
}

func (f *failures) err() error {
	if f.n == 0 {
		return nil
	}
	return fmt.Errorf("%d failed: %w", f.n, errors.Join(f.some...))
}
