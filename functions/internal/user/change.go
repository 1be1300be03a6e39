package user

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type passwordReader interface {
	// Password returns the account of a user and the hash of their password;
	// NotFound if they are not there any more.
	Password(ctx context.Context, user string) (account, hash string, err error)
}

type passwordChanger interface {
	passwordReader
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
func changePassword(users passwordChanger, limit limiter, passwords *hasher, end *ender) func(context.Context, im.Caller, passwordRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in passwordRequest) (nothing, error) {
		if err := im.CheckPassword(in.New); err != nil {
			return nothing{}, err
		}
		old, err := prove(ctx, users, limit, passwords, c.User, in.Old)
		if err != nil {
			return nothing{}, fmt.Errorf("changing a password: %w", gone(err))
		}
		hash, err := passwords.hash(ctx, in.New)
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

// prove returns the hash of a user's password, if password is it. It counts as
// an attempt to sign in, so that a stolen access token is no way to guess;
// where the user is does not matter.
func prove(ctx context.Context, users passwordReader, limit limiter, passwords *hasher, user, password string) (hash string, err error) {
	account, hash, err := users.Password(ctx, user)
	if err != nil {
		return "", err
	}
	if err := limit.AllowSignIn(ctx, account, "user "+user); err != nil {
		return "", err
	}
	right := false
	if im.CheckPassword(password) == nil {
		if right, err = passwords.verify(ctx, hash, password); err != nil {
			return "", err
		}
	}
	if !right {
		return "", errPassword
	}
	return hash, nil
}

// errPassword is Denied, for it is known who is calling.
var errPassword = im.Errorf(im.Denied, "the password is another")
