package friend

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// remarking is a transaction in which something about a friend changes.
type remarking interface {
	notifier
	// SetRemark notes what user calls a friend, and reports whether that is
	// something new. NotFound: they are not friends.
	SetRemark(ctx context.Context, user, friend, remark string) (bool, error)
}

type updateIn struct {
	User   string  `json:"user"`
	Remark *string `json:"remark"`
}

// update changes what the caller calls a friend.
func update(change func(context.Context, func(context.Context, remarking) error) error) func(context.Context, im.Caller, updateIn) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in updateIn) (nothing, error) {
		if err := other(c, in.User); err != nil {
			return nothing{}, err
		}
		if in.Remark == nil {
			return nothing{}, im.Errorf(im.Invalid, `"remark" is what you call your friend; it may be empty`)
		}
		if err := im.CheckRemark(*in.Remark); err != nil {
			return nothing{}, err
		}
		err := change(ctx, func(ctx context.Context, tx remarking) error {
			changed, err := tx.SetRemark(ctx, c.User, in.User, *in.Remark)
			if err != nil || !changed {
				return err
			}
			return tell(tx, im.FriendUpdated, c.User, in.User, []string{c.User}, remarked{in.User, *in.Remark})
		})
		if err != nil {
			return nothing{}, fmt.Errorf("changing a remark: %w", err)
		}
		return nothing{}, nil
	}
}
