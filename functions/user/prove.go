package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type passwordReader interface {
	// Password returns the account of a user and the hash of their password,
	// "" if they have none; NotFound if they are not there any more.
	Password(ctx context.Context, user string) (account, hash string, err error)
}

// errPassword is Denied, for it is known who is calling.
var errPassword = im.Errorf(im.Denied, "the password is another")

// Prover has callers prove again who they are, for what somebody who stole an
// access token must not do.
type Prover struct {
	users     passwordReader
	limit     knownLimiter
	passwords *hasher
	fresh     time.Duration // for how long a proof is good
}

// Prove returns nil if password is the caller's or, of a caller who has none,
// if they have proved lately who they are. Denied: it is not. Reauthenticate:
// they have not.
func (p *Prover) Prove(ctx context.Context, c im.Caller, password string) error {
	_, err := p.prove(ctx, c, password)
	return gone(err)
}

// prove is Prove and returns the hash of the password, "" of who has none.
func (p *Prover) prove(ctx context.Context, c im.Caller, password string) (hash string, err error) {
	account, hash, err := p.users.Password(ctx, c.User)
	if err != nil {
		return "", err
	}
	if hash == "" {
		return "", c.Fresh(time.Now(), p.fresh)
	}
	return hash, p.check(ctx, c, account, hash, password)
}

// check reports whether a password is that of a hash. It counts as an attempt of
// its session to sign in, so that a stolen access token is no way to guess, and
// neither strangers nor a thief keep the user from it elsewhere.
func (p *Prover) check(ctx context.Context, c im.Caller, account, hash, password string) error {
	if err := p.limit.AllowKnown(ctx, account, c.Session); err != nil {
		return err
	}
	right := false
	if im.CheckPassword(password) == nil {
		var err error
		if right, err = p.passwords.verify(ctx, callerPrefix+c.User, hash, password); err != nil {
			return err
		}
	}
	if !right {
		return errPassword
	}
	return nil
}

type sessionProver interface {
	// ProveSession notes that a user has proved by a session who they are, and
	// returns it. NotFound: it has ended.
	ProveSession(ctx context.Context, user, session string) (im.Session, error)
}

type factorChecker interface {
	// Needs reports whether a user has a second factor.
	Needs(ctx context.Context, user string) (bool, error)
	// CheckAs uses up a code of a caller's second factor. SecondFactor: there is
	// no code, or another one.
	CheckAs(ctx context.Context, c im.Caller, code string) error
}

type proveRequest struct {
	Password string `json:"password"`
	Code     string `json:"code"` // of the second factor
}

// Proved is what somebody is given who has proved again who they are.
type Proved struct {
	AccessToken string  `json:"access_token"`
	Expires     im.Time `json:"expires_at"`
}

// ShownOnce says that the answer is kept nowhere.
func (Proved) ShownOnce() {}

// Renewer gives access tokens to users who have proved again who they are.
type Renewer struct {
	sessions sessionProver
	access   issuer
}

// Renew notes that a caller has proved who they are, and returns an access token
// that says so. Unauthenticated: the session has ended.
func (r *Renewer) Renew(ctx context.Context, c im.Caller) (Proved, error) {
	s, err := r.sessions.ProveSession(ctx, c.User, c.Session)
	if errors.Is(err, im.NotFound) {
		return Proved{}, im.Wrap(im.Unauthenticated, err, "the session has ended: sign in again")
	}
	if err != nil {
		return Proved{}, fmt.Errorf("renewing a proof: %w", err)
	}
	access, expires, err := r.access.Issue(callerOf(s))
	return Proved{AccessToken: access, Expires: im.TimeOf(expires)}, err
}

// proveAgain has a caller prove who they are by the password, a code of the
// second factor, or both.
func proveAgain(by *Prover, second factorChecker, renew *Renewer) func(context.Context, im.Caller, proveRequest) (Proved, error) {
	return func(ctx context.Context, c im.Caller, in proveRequest) (Proved, error) {
		if in.Password == "" && in.Code == "" {
			return Proved{}, im.Errorf(im.Invalid, `give "password", or "code" of the second factor`)
		}
		if in.Password != "" {
			account, hash, err := by.users.Password(ctx, c.User)
			switch {
			case err != nil:
				return Proved{}, fmt.Errorf("renewing a proof: %w", gone(err))
			case hash == "":
				return Proved{}, im.Errorf(im.Denied, "you have no password: give a code of the second factor, or sign in again")
			}
			if err := by.check(ctx, c, account, hash, in.Password); err != nil {
				return Proved{}, err
			}
		}
		if in.Code != "" {
			if err := checkCode(ctx, second, c, in.Code); err != nil {
				return Proved{}, err
			}
		}
		return renew.Renew(ctx, c)
	}
}

// checkCode uses up a code of the second factor of a caller, of whom it is known
// who they are: what is wrong with it is Denied.
func checkCode(ctx context.Context, second factorChecker, c im.Caller, code string) error {
	has, err := second.Needs(ctx, c.User)
	if err != nil {
		return err
	}
	if !has {
		return im.Errorf(im.Denied, "you have no second factor: give the password, or sign in again")
	}
	return second.CheckAs(ctx, c, code)
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

// RevokedAll is Revoked of sessions of several users.
func (e Ender) RevokedAll(ctx context.Context, ended []im.Session) {
	of := map[string][]string{}
	for _, s := range ended {
		of[s.User] = append(of[s.User], s.ID)
	}
	for user, sessions := range of {
		e.Revoked(ctx, user, sessions...)
	}
}
