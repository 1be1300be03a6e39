package friend

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// responding is a transaction in which somebody who was asked answers.
type responding interface {
	befriending
	// LockPair returns how user stands to other, and keeps it so.
	LockPair(ctx context.Context, user, other string) (im.PairState, error)
	// RemoveRequest removes what one has asked the other.
	RemoveRequest(ctx context.Context, from, to string) error
}

type responder struct {
	change func(context.Context, func(context.Context, responding) error) error
	most   int           // friends
	life   time.Duration // of a request
	now    func() im.Time
}

type respondIn struct {
	User   string `json:"user"` // who has asked
	Accept *bool  `json:"accept"`
}

// respond answers what a user has asked the caller. There is no way to name
// what the caller has asked: the request that is answered is always one to the
// caller.
func (r *responder) respond(ctx context.Context, c im.Caller, in respondIn) (out stateOut, err error) {
	if err := other(c, in.User); err != nil {
		return out, err
	}
	if in.Accept == nil {
		return out, im.Errorf(im.Invalid, `"accept" is true or false`)
	}
	over := r.now() - im.Time(r.life.Microseconds())
	err = r.change(ctx, func(ctx context.Context, tx responding) error {
		is, err := tx.LockPair(ctx, c.User, in.User)
		switch {
		case err != nil:
			return err
		case is.Friends && *in.Accept: // again
			out.State = stateFriends
			return nil
		case is.Friends, is.Hidden, is.AskedBy <= over:
			return im.Errorf(im.NotFound, "this user has not asked you, or not any more")
		case *in.Accept:
			out.State = stateFriends
			return befriend(ctx, tx, c.User, in.User, r.most)
		}
		out.State = stateNone
		return tx.RemoveRequest(ctx, in.User, c.User)
	})
	if err != nil {
		return stateOut{}, fmt.Errorf("answering who asks to be friends: %w", err)
	}
	return out, nil
}

// other reports whether a user could be somebody else than the caller.
func other(c im.Caller, user string) error {
	switch {
	case !im.IsID(user):
		return im.Errorf(im.Invalid, "%.40q is not the id of a user", user)
	case user == c.User:
		return im.Errorf(im.Invalid, "that is you: name another user")
	}
	return nil
}
