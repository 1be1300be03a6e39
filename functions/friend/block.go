package friend

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// maxBlocks is how many others a user may block.
const maxBlocks = 5000

// blocking is a transaction in which somebody blocks another, or no longer.
type blocking interface {
	notifier
	// PairState returns how user stands to other.
	PairState(ctx context.Context, user, other string) (im.PairState, error)
	// LockPair returns it too, and keeps it so.
	LockPair(ctx context.Context, user, other string) (im.PairState, error)
	// Block has user block other, and hides what other has asked. It returns
	// how many user has blocked now.
	Block(ctx context.Context, user, other string) (int, error)
	// Unblock ends that. What was hidden stays hidden.
	Unblock(ctx context.Context, user, other string) error
}

type blockIn struct {
	User    string `json:"user"`
	Blocked *bool  `json:"blocked"`
}

// set has the caller block another, or no longer. Nobody but the caller's own
// devices is told.
func set(change func(context.Context, func(context.Context, blocking) error) error) func(context.Context, im.Caller, blockIn) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in blockIn) (nothing, error) {
		if err := other(c, in.User); err != nil {
			return nothing{}, err
		}
		if in.Blocked == nil {
			return nothing{}, im.Errorf(im.Invalid, `"blocked" is true or false`)
		}
		err := change(ctx, func(ctx context.Context, tx blocking) error {
			if *in.Blocked {
				return block(ctx, tx, c.User, in.User)
			}
			return unblock(ctx, tx, c.User, in.User)
		})
		if err != nil {
			return nothing{}, fmt.Errorf("changing a block: %w", err)
		}
		return nothing{}, nil
	}
}

func block(ctx context.Context, tx blocking, user, other string) error {
	is, err := tx.LockPair(ctx, user, other)
	switch {
	case err != nil:
		return err
	case !is.Exist:
		return im.Errorf(im.NotFound, "there is no such user")
	case is.Blocks:
		return nil
	}
	n, err := tx.Block(ctx, user, other)
	if err != nil {
		return err
	}
	if n > maxBlocks {
		return im.Errorf(im.Conflict, "you have blocked %d users, which is the most", maxBlocks)
	}
	return tell(tx, im.BlockChanged, user, other, []string{user}, blocked{other, true})
}

func unblock(ctx context.Context, tx blocking, user, other string) error {
	// To lock a pair makes a row: not for whoever is named by chance.
	if is, err := tx.PairState(ctx, user, other); err != nil || !is.Blocks {
		return err
	}
	if is, err := tx.LockPair(ctx, user, other); err != nil || !is.Blocks {
		return err
	}
	if err := tx.Unblock(ctx, user, other); err != nil {
		return err
	}
	return tell(tx, im.BlockChanged, user, other, []string{user}, blocked{other, false})
}
