package user

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// strayFor is how long after a user was deleted something may still come to
// them: longer than a message is under way, and than any cache believes that
// there is such a user.
const strayFor = time.Hour

type inboxEraser interface {
	// Erase deletes the inbox of a user. It may be repeated.
	Erase(ctx context.Context, user string) error
}

type forgetter interface {
	// Forget deletes the hints that are kept of a user. It may be repeated.
	Forget(ctx context.Context, user string) error
}

type erasureNotes interface {
	// EraseUser deletes what is left of a user in the database. It may be repeated.
	EraseUser(ctx context.Context, user string) error
	// Erased notes that an erasure was done. The first is due again after a
	// while; the second is forgotten.
	Erased(ctx context.Context, e im.Erasure, after time.Duration) error
}

// eraser erases what is left of users who were deleted, where the transaction
// that deleted them does not reach.
type eraser struct {
	inbox inboxEraser
	hints forgetter
	notes erasureNotes
}

// user erases one. It may be cut off at any step, and done twice at once.
func (r *eraser) user(ctx context.Context, e im.Erasure) error {
	if err := r.inbox.Erase(ctx, e.User); err != nil {
		return fmt.Errorf("erasing the inbox of %s: %w", e.User, err)
	}
	if err := r.hints.Forget(ctx, e.User); err != nil {
		return fmt.Errorf("erasing hints of %s: %w", e.User, err)
	}
	if err := r.notes.EraseUser(ctx, e.User); err != nil {
		return err
	}
	return r.notes.Erased(ctx, e, strayFor)
}
