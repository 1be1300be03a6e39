package user

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type accounts interface {
	// UserByAccount returns a user and the hash of their password; NotFound
	// if there is no such account.
	UserByAccount(ctx context.Context, account string) (im.User, string, error)
}

type sessionCreator interface {
	// CreateSession adds a session of a user who still has the password of a
	// hash (NotFound: not any more). It ends and returns an earlier one of the
	// device, and those that a user of more than most has not used for longest.
	CreateSession(ctx context.Context, s im.Session, passwordHash string, refreshHash []byte, expires time.Time, most int) (ended []string, err error)
}

type limiter interface {
	// AllowSignIn counts an attempt to sign in. Overloaded: there were too many.
	AllowSignIn(ctx context.Context, account, address string) error
}

type credentials struct {
	Account  string `json:"account"`
	Password string `json:"password"`
	Device   string `json:"device"`   // chosen by the client and kept by it
	Platform string `json:"platform"` // one of im.Platforms
}

// errCredentials is the one answer to an account that there is not and to a
// password that is wrong.
var errCredentials = im.Errorf(im.Unauthenticated, "there is no such account, or the password is another")

type login struct {
	accounts  accounts
	sessions  sessionCreator
	limit     limiter
	passwords *hasher
	tokens    tokens
	most      int // sessions of a user
	end       *ender
}

// call signs a device in that is at a network address, "" if that is not known.
// It takes as long for an account that there is not as for a wrong password.
func (l *login) call(ctx context.Context, address string, in credentials) (signedIn, error) {
	if err := cmp.Or(im.CheckDevice(in.Device), im.CheckPlatform(in.Platform)); err != nil {
		return signedIn{}, err
	}
	account := strings.ToLower(in.Account)
	if im.CheckAccount(account) != nil || im.CheckPassword(in.Password) != nil {
		return signedIn{}, errCredentials // nobody can have registered with these
	}
	if err := l.limit.AllowSignIn(ctx, account, address); err != nil {
		return signedIn{}, err
	}
	u, hash, err := l.accounts.UserByAccount(ctx, account)
	known := err == nil
	if errors.Is(err, im.NotFound) {
		hash, err = l.passwords.dummy, nil
	}
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	right, err := l.passwords.verify(ctx, hash, in.Password)
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	if !known || !right {
		return signedIn{}, errCredentials
	}
	s := im.Session{ID: im.NewID(), User: u.ID, Device: in.Device, Platform: in.Platform, Created: im.Now()}
	refresh := l.tokens.newRefresh()
	ended, err := l.sessions.CreateSession(ctx, s, hash, refresh.hash, refresh.expires, l.most)
	if errors.Is(err, im.NotFound) {
		return signedIn{}, errCredentials // they were right when they were read
	}
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	l.end.aside(ctx, frame.CloseSignedOut, u.ID, ended...)
	t, err := l.tokens.issue(s, refresh)
	return signedIn{User: u, issued: t}, err
}
