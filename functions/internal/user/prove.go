package user

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// freshFor is how long after signing in somebody without a password is
// believed to be who they are in what others give their password for.
const freshFor = 15 * time.Minute

type passwordReader interface {
	// Password returns the account of a user and the hash of their password,
	// "" if they have none; NotFound if they are not there any more.
	Password(ctx context.Context, user string) (account, hash string, err error)
	// SessionCreated returns when a session of a user began that has not
	// ended; NotFound if there is none.
	SessionCreated(ctx context.Context, user, session string) (im.Time, error)
}

// prove returns the hash of a caller's password, if password is it. It counts as
// an attempt of its session to sign in, so that a stolen access token is no way to
// guess, and neither strangers nor a thief keep the user from it elsewhere. Who
// has no password proves by having signed in just now.
func prove(ctx context.Context, users passwordReader, limit knownLimiter, passwords *hasher, c im.Caller, password string) (hash string, err error) {
	account, hash, err := users.Password(ctx, c.User)
	if err != nil {
		return "", err
	}
	if err := limit.AllowKnown(ctx, account, c.Session); err != nil {
		return "", err
	}
	if hash == "" {
		created, err := users.SessionCreated(ctx, c.User, c.Session)
		if errors.Is(err, im.NotFound) {
			return "", im.Wrap(im.Unauthenticated, err, "the session has ended: sign in again")
		}
		if err != nil {
			return "", err
		}
		if time.Since(created.Std()) > freshFor {
			return "", errStale
		}
		return "", nil
	}
	right := false
	if im.CheckPassword(password) == nil {
		if right, err = passwords.verify(ctx, "user "+c.User, hash, password); err != nil {
			return "", err
		}
	}
	if !right {
		return "", errPassword
	}
	return hash, nil
}

// errPassword and errStale are Denied, for it is known who is calling.
var (
	errPassword = im.Errorf(im.Denied, "the password is another")
	errStale    = im.Errorf(im.Denied, "you have no password: sign in again first, and do this within %s", freshFor)
)

// Prover has callers prove again who they are, for what somebody who stole an
// access token must not do.
type Prover struct {
	users     passwordReader
	limit     knownLimiter
	passwords *hasher
}

// Prove returns nil if password is the caller's or, of a caller who has none,
// if they have signed in just now. Denied: it is not.
func (p *Prover) Prove(ctx context.Context, c im.Caller, password string) error {
	_, err := prove(ctx, p.users, p.limit, p.passwords, c, password)
	return gone(err)
}

// Passwords hashes passwords.
type Passwords struct{ hasher *hasher }

// Hash returns the hash of a password, as it is stored, for somebody at a network
// address. Overloaded: too many are waiting.
func (p Passwords) Hash(ctx context.Context, address, password string) (string, error) {
	return p.hasher.hash(ctx, queueOf("", address), password)
}

// Ender has the sockets and the access tokens of sessions refused that have
// ended in the database.
type Ender struct{ ender *ender }

// Revoked tells everybody that sessions of a user have ended. What fails is done
// by session-sweep.
func (e Ender) Revoked(ctx context.Context, user string, sessions ...string) {
	e.ender.aside(ctx, frame.CloseRevoked, user, sessions...)
}
