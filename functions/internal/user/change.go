package user

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type passwordChanger interface {
	passwordReader
	// Self returns a user as they see themselves; NotFound if they are not
	// there any more.
	Self(ctx context.Context, user string) (im.Self, error)
	// ChangePassword puts one hash in the place of another, and ends and
	// returns all sessions of the user but one. Conflict: it is another by now.
	ChangePassword(ctx context.Context, user, oldHash, newHash, keep string) (ended []string, err error)
}

type passwordRequest struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// changePassword gives the caller another password, and signs out everybody
// else who knew the old one. Once it is changed the answer says so, whether or
// not the sessions could be closed at once.
func changePassword(users passwordChanger, limit knownLimiter, passwords *hasher, end *ender) func(context.Context, im.Caller, passwordRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in passwordRequest) (nothing, error) {
		if err := im.CheckPassword(in.New); err != nil {
			return nothing{}, err
		}
		old, err := prove(ctx, users, limit, passwords, c, in.Old)
		if err != nil {
			return nothing{}, fmt.Errorf("changing a password: %w", gone(err))
		}
		u, err := users.Self(ctx, c.User)
		if err == nil {
			err = CheckNewPassword(in.New, u.Account, u.Name, u.Email)
		}
		if err != nil {
			return nothing{}, fmt.Errorf("changing a password: %w", gone(err))
		}
		hash, err := passwords.hash(ctx, "user "+c.User, in.New)
		if err != nil {
			return nothing{}, fmt.Errorf("changing a password: %w", err)
		}
		ended, err := users.ChangePassword(ctx, c.User, old, hash, c.Session)
		if err != nil {
			return nothing{}, fmt.Errorf("changing a password: %w", err)
		}
		end.aside(ctx, frame.CloseRevoked, c.User, ended...)
		return nothing{}, nil
	}
}
