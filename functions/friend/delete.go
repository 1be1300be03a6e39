package friend

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// parting is a transaction in which a friendship ends.
type parting interface {
	notifier
	// PairState returns how user stands to other.
	PairState(ctx context.Context, user, other string) (im.PairState, error)
	// LockPair returns it too, and keeps it so.
	LockPair(ctx context.Context, user, other string) (im.PairState, error)
	// Unfriend ends the friendship of two users.
	Unfriend(ctx context.Context, user, other string) error
}

type userIn struct {
	User string `json:"user"`
}

type nothing struct{}

// remove ends the friendship of the caller and another, if they have one.
func remove(change func(context.Context, func(context.Context, parting) error) error) func(context.Context, im.Caller, userIn) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in userIn) (nothing, error) {
		if err := other(c, in.User); err != nil {
			return nothing{}, err
		}
		err := change(ctx, func(ctx context.Context, tx parting) error {
			// To lock a pair makes a row: not for whoever is named by chance.
			if is, err := tx.PairState(ctx, c.User, in.User); err != nil || !is.Friends {
				return err
			}
			if is, err := tx.LockPair(ctx, c.User, in.User); err != nil || !is.Friends {
				return err
			}
			if err := tx.Unfriend(ctx, c.User, in.User); err != nil {
				return err
			}
			return tell(tx, im.FriendDeleted, c.User, in.User, []string{c.User, in.User}, nil)
		})
		if err != nil {
			return nothing{}, fmt.Errorf("ending a friendship: %w", err)
		}
		return nothing{}, nil
	}
}
