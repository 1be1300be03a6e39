package user

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/im"
)

type accounts interface {
	// UserByAccount returns a user and the hash of their password, "" if they
	// have none; NotFound if there is no such account.
	UserByAccount(ctx context.Context, account string) (im.User, string, error)
}

type limiter interface {
	// AllowSignIn counts an attempt to sign in. Overloaded: there were too many.
	AllowSignIn(ctx context.Context, account, address string) error
}

type credentials struct {
	Account  string `json:"account"`
	Password string `json:"password"`
	Code     string `json:"code"`     // of the second factor, if there is one
	Device   string `json:"device"`   // chosen by the client and kept by it
	Platform string `json:"platform"` // one of im.Platforms
}

// errCredentials is the one answer to an account that there is not and to a
// password that is wrong.
var errCredentials = im.Errorf(im.Unauthenticated, "there is no such account, or the password is another")

type login struct {
	accounts  accounts
	limit     limiter
	passwords *hasher
	second    *SecondFactor
	Beginner
}

// call signs a device in that is at a network address, "" if that is not known.
// It takes as long for an account that there is not as for a wrong password.
// That somebody has a second factor is told only to who knows the password.
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
	if errors.Is(err, im.NotFound) || known && hash == "" {
		known, hash, err = false, l.passwords.dummy, nil
	}
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	right, err := l.passwords.verify(ctx, hash, in.Password)
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	if !known || !right {
		return signedIn{}, audit.About(im.Caller{User: u.ID}, errCredentials)
	}
	if err := l.second.Check(ctx, u.ID, in.Code); err != nil {
		return signedIn{}, audit.About(im.Caller{User: u.ID}, err)
	}
	s, err := l.Begin(ctx, u, hash, in.Device, in.Platform)
	if errors.Is(err, im.NotFound) {
		return signedIn{}, errCredentials // they were right when they were read
	}
	return s, err
}
