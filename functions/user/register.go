package user

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

type creator interface {
	// CreateUser adds a user. Conflict: the account is taken.
	CreateUser(ctx context.Context, u im.User, passwordHash string) error
}

type registrationLimiter interface {
	// AllowRegistration counts an attempt. Overloaded: there were too many.
	AllowRegistration(ctx context.Context, address string) error
}

type registration struct {
	Account  string `json:"account"`
	Name     string `json:"name"` // the account, if it is empty
	Password string `json:"password"`
}

type newcomerMarker interface {
	// Mark notes that an account is new.
	Mark(ctx context.Context, user string) error
}

// register adds a user who is at a network address, "" if that is not known. An
// account is one whether it is written in capitals or not.
func register(users creator, limit registrationLimiter, passwords *hasher, names Names, newcomers newcomerMarker) func(context.Context, string, registration) (im.User, error) {
	return func(ctx context.Context, address string, in registration) (im.User, error) {
		account := strings.ToLower(in.Account)
		u := im.User{ID: im.NewID(), Account: account, Name: cmp.Or(in.Name, account)}
		if err := cmp.Or(im.CheckAccount(u.Account), im.CheckName(u.Name), CheckNewPassword(in.Password, u.Account, u.Name), names.Check(account)); err != nil {
			return im.User{}, err
		}
		if err := limit.AllowRegistration(ctx, address); err != nil {
			return im.User{}, err
		}
		hash, err := passwords.hash(ctx, queueOf("", address), in.Password)
		if err != nil {
			return im.User{}, err
		}
		if err := newcomers.Mark(ctx, u.ID); err != nil {
			return im.User{}, fmt.Errorf("registering: %w", err)
		}
		if err := users.CreateUser(ctx, u, hash); err != nil {
			return im.User{}, fmt.Errorf("registering: %w", err)
		}
		return u, nil
	}
}
