package bot

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// leaver is the transaction in which a bot is deleted. It locks in the order of
// its methods, as everybody does who locks any of it.
type leaver interface {
	// ForgetBot clears the row of a bot of an owner, "" if that was deleted,
	// ends and returns its sessions, and has the rest of it erased. It returns
	// false if it was deleted already. NotFound: the owner never had it.
	ForgetBot(ctx context.Context, owner, bot string) (sessions []string, was bool, err error)
	// LeaveAllGroups takes a user out of all groups, hands on or dissolves those
	// that they own, and returns the notices of it.
	LeaveAllGroups(ctx context.Context, user string) ([]im.Notice, error)
	// RemoveAllFriends ends the friendships of a user and returns with whom
	// they were. It removes the user's requests and blocks in both directions.
	RemoveAllFriends(ctx context.Context, user string) (friends []string, err error)
	// Notify has notices published if, and once, the transaction is committed.
	Notify(notices ...im.Notice)
}

// A changer runs f in a transaction, and publishes the notices that it leaves.
type changer func(ctx context.Context, f func(context.Context, leaver) error) error

// mostTries is how often it is tried to delete a bot: who waits for it, and for
// whom it waits, may make the database give one of them up.
const mostTries = 3

type ender interface {
	// Revoked tells everybody that sessions of a user have ended.
	Revoked(ctx context.Context, user string, sessions ...string)
}

type remover struct {
	change changer
	end    ender
}

type deleteRequest struct {
	Bot string `json:"bot"`
}

// call deletes a bot of the caller, as a user is deleted: what it sent stays.
// It may be repeated.
func (r *remover) call(ctx context.Context, c im.Caller, in deleteRequest) (nothing, error) {
	if err := checkBot(in.Bot); err != nil {
		return nothing{}, err
	}
	return nothing{}, r.remove(ctx, c.User, in.Bot)
}

// remove deletes a bot of an owner, or with an owner of "" one whose owner was
// deleted.
func (r *remover) remove(ctx context.Context, owner, bot string) error {
	var ended []string
	var err error
	for range mostTries {
		err = r.change(ctx, func(ctx context.Context, tx leaver) (err error) {
			ended, err = leave(ctx, tx, owner, bot)
			return err
		})
		if im.KindOf(err) != im.Unavailable {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("deleting a bot: %w", err)
	}
	r.end.Revoked(ctx, bot, ended...)
	return nil
}

// leave makes of a bot one that was deleted, and tells those who are concerned.
func leave(ctx context.Context, tx leaver, owner, bot string) (ended []string, err error) {
	ended, was, err := tx.ForgetBot(ctx, owner, bot)
	if err != nil || !was {
		return nil, err
	}
	notices, err := tx.LeaveAllGroups(ctx, bot)
	if err != nil {
		return nil, err
	}
	tx.Notify(notices...)
	friends, err := tx.RemoveAllFriends(ctx, bot)
	if err != nil {
		return nil, err
	}
	for _, f := range friends {
		n, err := im.NewNotice(im.FriendDeleted, im.Direct(bot, f), bot, nil)
		if err != nil {
			return nil, err
		}
		n.Quiet = true
		tx.Notify(n)
	}
	return ended, nil
}
