package friend

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// maxOpen is how many requests of a user may wait for an answer.
const maxOpen = 200

// asking is a transaction in which somebody asks.
type asking interface {
	befriending
	// LockPair returns how user stands to other, and keeps it so.
	LockPair(ctx context.Context, user, other string) (im.PairState, error)
	// OpenRequests returns how many requests user has made after a time, and
	// forgets those before it.
	OpenRequests(ctx context.Context, user string, after im.Time) (int, error)
	// AddRequest adds a request, in place of one that is over.
	AddRequest(context.Context, im.Ask) error
}

type limiter interface {
	// Allow counts a request. Overloaded: there were too many.
	Allow(ctx context.Context, user string) error
}

type newcomers interface {
	// Reach counts that an account turns to strangers. Overloaded: they are too
	// many for one that is so new.
	Reach(ctx context.Context, from string, strangers ...string) error
}

type requester struct {
	change    func(context.Context, func(context.Context, asking) error) error
	limit     limiter
	newcomers newcomers
	most      int           // friends
	life      time.Duration // of a request
	now       func() im.Time
}

type requestIn struct {
	User    string `json:"user"`
	Message string `json:"message"`
	Source  string `json:"source"`
}

// What two users are, of those who may know it.
const (
	stateNone    = "none"
	statePending = "pending"
	stateFriends = "friends"
)

type stateOut struct {
	State string `json:"state"`
}

// request asks a user to be friends with the caller. Whom it is hidden from is
// decided when it is made, once: neither the answer nor anything later differs
// by it for the caller.
func (r *requester) request(ctx context.Context, c im.Caller, in requestIn) (out stateOut, err error) {
	now := r.now()
	ask := im.Ask{From: c.User, To: in.User, Message: in.Message, Source: in.Source, At: now}
	if err := ask.Check(); err != nil {
		return out, err
	}
	if err := r.limit.Allow(ctx, c.User); err != nil {
		return out, err
	}
	err = r.change(ctx, func(ctx context.Context, tx asking) error {
		is, err := tx.LockPair(ctx, c.User, in.User)
		if err != nil {
			return err
		}
		over := now - im.Time(r.life.Microseconds()) // requests that were made by then
		switch {
		case !is.Exist:
			return im.Errorf(im.NotFound, "there is no such user")
		case is.Friends:
			out.State = stateFriends
			return nil
		case is.Blocks:
			return im.Errorf(im.Conflict, "you have blocked this user: unblock them first")
		case is.AskedBy > over: // hidden or not: now both have asked
			out.State = stateFriends
			return befriend(ctx, tx, c.User, in.User, r.most)
		}
		out.State = statePending
		if is.Asked > over {
			return nil
		}
		if err := r.newcomers.Reach(ctx, c.User, in.User); err != nil {
			return err
		}
		open, err := tx.OpenRequests(ctx, c.User, over)
		if err != nil {
			return err
		}
		if open >= maxOpen {
			return im.Errorf(im.Conflict, "%d of your requests wait for an answer, which is the most: wait for some of them", open)
		}
		ask.Hidden = is.BlockedBy || !is.Takes
		if err := tx.AddRequest(ctx, ask); err != nil {
			return err
		}
		to := []string{c.User, in.User}
		if ask.Hidden {
			to = to[:1]
		}
		return tell(tx, im.FriendRequested, c.User, in.User, to, requested{in.User, in.Message, in.Source, now})
	})
	if err != nil {
		return stateOut{}, fmt.Errorf("asking to be friends: %w", err)
	}
	return out, nil
}
