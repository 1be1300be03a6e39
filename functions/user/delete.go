package user

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// leaver is the transaction in which a user is deleted. It locks in the order
// of its methods, as everybody does who locks any of it.
type leaver interface {
	// ForgetUser clears the row of a user who still has the password of a hash,
	// ends and returns their sessions, and notes that an erasure is due. From
	// then on nobody relates to the user anew. It returns false if they were
	// deleted already. Conflict: the password is another by now.
	ForgetUser(ctx context.Context, user, passwordHash string) (sessions []string, was bool, err error)
	// LeaveAllGroups takes a user out of all groups, hands on or dissolves those
	// that they own, and returns the notices of it.
	LeaveAllGroups(ctx context.Context, user string) ([]im.Notice, error)
	// RemoveAllFriends ends the friendships of a user and returns with whom
	// they were. It removes the user's requests and blocks in both directions.
	RemoveAllFriends(ctx context.Context, user string) (friends []string, err error)
	// Notify has notices published if, and once, the transaction is committed.
	Notify(notices ...im.Notice)
}

// mostTries is how often it is tried to delete a user. Two friends who are
// deleted at once wait for each other, and the database lets one of them go on.
const mostTries = 3

// A changer runs f in a transaction.
type changer func(ctx context.Context, f func(context.Context, leaver) error) error

type deleteRequest struct {
	Password string `json:"password"`
	Code     string `json:"code"` // of the second factor, if there is one
}

type remover struct {
	who    *Prover
	second *SecondFactor
	change changer
	end    *ender
	erase  *eraser
}

// call deletes the caller: what is theirs in the database at once, what is
// elsewhere right after that, or by session-sweep. What they sent stays, from a
// user who was deleted. It may be repeated.
func (r *remover) call(ctx context.Context, c im.Caller, in deleteRequest) (nothing, error) {
	hash, err := r.who.prove(ctx, c, in.Password)
	if errors.Is(err, im.NotFound) {
		return nothing{}, nil // deleted already
	}
	if err != nil {
		return nothing{}, fmt.Errorf("deleting a user: %w", err)
	}
	if err := r.second.CheckAs(ctx, c, in.Code); err != nil {
		return nothing{}, fmt.Errorf("deleting a user: %w", err)
	}
	var ended []string
	var was bool
	for range mostTries {
		err = r.change(ctx, func(ctx context.Context, tx leaver) (err error) {
			ended, was, err = leave(ctx, tx, c.User, hash)
			return err
		})
		if im.KindOf(err) != im.Unavailable {
			break
		}
	}
	if err != nil {
		return nothing{}, fmt.Errorf("deleting a user: %w", err)
	}
	if !was {
		return nothing{}, nil
	}
	r.end.aside(ctx, frame.CloseDeleted, c.User, ended...)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
	defer cancel()
	if err := r.erase.user(ctx, im.Erasure{User: c.User}); err != nil {
		r.end.log.WarnContext(ctx, "an erasure is left to session-sweep", "user", c.User, "err", err)
	}
	return nothing{}, nil
}

// leave makes of a user one who was deleted, and tells those who are concerned.
func leave(ctx context.Context, tx leaver, user, passwordHash string) (ended []string, was bool, err error) {
	if ended, was, err = tx.ForgetUser(ctx, user, passwordHash); err != nil || !was {
		return nil, false, err
	}
	notices, err := tx.LeaveAllGroups(ctx, user)
	if err != nil {
		return nil, false, err
	}
	tx.Notify(notices...)
	friends, err := tx.RemoveAllFriends(ctx, user)
	if err != nil {
		return nil, false, err
	}
	for _, f := range friends {
		n, err := im.NewNotice(im.FriendDeleted, im.Direct(user, f), user, nil)
		if err != nil {
			return nil, false, err
		}
		n.Quiet = true
		tx.Notify(n)
	}
	return ended, true, nil
}
