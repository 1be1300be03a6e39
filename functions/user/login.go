package user

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/network"
)

type accountReader interface {
	// UserByAccount returns a user and the hash of their password, "" if they
	// have none; NotFound if there is no such account.
	UserByAccount(ctx context.Context, account string) (im.User, string, error)
}

type limiter interface {
	// AllowSignIn counts an attempt of a stranger to sign in. Overloaded: there
	// were too many.
	AllowSignIn(ctx context.Context, account, address string) error
	// AllowDevice counts an attempt of a device that was let in before, in a lane
	// of its own. Overloaded: there were too many.
	AllowDevice(ctx context.Context, account, lane, address string) error
}

type knownLimiter interface {
	// AllowKnown counts an attempt of somebody who was let in to an account, in a
	// lane of their own. Overloaded: there were too many.
	AllowKnown(ctx context.Context, account, lane string) error
}

type credentials struct {
	Account  string `json:"account"`
	Password string `json:"password"`
	Code     string `json:"code"`         // of the second factor, if there is one
	Device   string `json:"device"`       // chosen by the client and kept by it
	Platform string `json:"platform"`     // one of im.Platforms
	Proof    string `json:"device_proof"` // what the device was given when it signed in before, if it did
}

// errCredentials is the one answer to an account that there is not and to a
// password that is wrong.
var errCredentials = im.Errorf(im.Unauthenticated, "there is no such account, or the password is another")

type login struct {
	accounts  accountReader
	limit     limiter
	passwords *hasher
	second    *SecondFactor
	Beginner
}

// call signs a device in that is at a network address, "" if that is not known.
// It takes as long for an account that there is not as for a wrong password.
// That somebody has a second factor is told only to who knows the password.
func (l *login) call(ctx context.Context, address string, in credentials) (signedIn, error) {
	if err := cmp.Or(im.CheckDevice(in.Device), im.CheckPlatform(in.Platform), CheckDeviceProof(in.Proof)); err != nil {
		return signedIn{}, err
	}
	account := strings.ToLower(in.Account)
	if im.CheckAccount(account) != nil || im.CheckPassword(in.Password) != nil {
		return signedIn{}, errCredentials // nobody can have registered with these
	}
	lane, err := l.admit(ctx, account, address, in.Proof)
	if err != nil {
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
	right, err := l.passwords.verify(ctx, queueOf(lane, address), hash, in.Password)
	if err != nil {
		return signedIn{}, fmt.Errorf("signing in: %w", err)
	}
	if !known || !right {
		return signedIn{}, audit.About(im.Caller{User: u.ID}, errCredentials)
	}
	if err := l.second.Check(ctx, u.ID, lane, in.Code); err != nil {
		return signedIn{}, audit.About(im.Caller{User: u.ID}, err)
	}
	s, err := l.Begin(ctx, u, hash, in.Device, in.Platform)
	if errors.Is(err, im.NotFound) {
		return signedIn{}, errCredentials // they were right when they were read
	}
	return s, err
}

// admit counts an attempt to sign in, and returns the lane of a device that
// proves that it was let in to the account before, "" of a stranger. Strangers
// keep no such device out, whatever they try and from wherever.
func (l *login) admit(ctx context.Context, account, address, proof string) (lane string, err error) {
	if _, ok := l.proofs.read(proof); ok {
		u, hash, err := l.accounts.UserByAccount(ctx, account)
		if err != nil && !errors.Is(err, im.NotFound) {
			return "", fmt.Errorf("signing in: %w", err)
		}
		lane = l.proofs.lane(proof, u.ID, hash)
	}
	if lane != "" {
		err := l.limit.AllowDevice(ctx, account, lane, address)
		if lane != former || !errors.Is(err, im.Overloaded) {
			return lane, err
		} // others who knew the old password leave nothing of that lane: as a stranger, then
	}
	return "", l.limit.AllowSignIn(ctx, account, address)
}

// queueOf returns by what somebody takes turns who waits for a hash. Devices
// that are known do not wait for strangers.
func queueOf(lane, address string) string {
	widest := network.Widest(address)
	if lane != "" {
		return knownPrefix + widest
	}
	return widest
}
