package friend

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// befriending is a transaction in which two users who are locked become
// friends.
type befriending interface {
	notifier
	// Befriend makes two users friends and removes what they have asked each
	// other. It returns how many friends each has now.
	Befriend(ctx context.Context, user, other string) (users, others int, err error)
}

// befriend makes two users friends, and tells both. user is who has done the
// last that it took.
func befriend(ctx context.Context, tx befriending, user, other string, most int) error {
	users, others, err := tx.Befriend(ctx, user, other)
	switch {
	case err != nil:
		return err
	case users > most:
		return im.Errorf(im.Conflict, "you have %d friends, which is the most", most)
	case others > most:
		return im.Errorf(im.Conflict, "this user has as many friends as anybody may have")
	}
	return tell(tx, im.FriendAccepted, user, other, []string{user, other}, nil)
}
