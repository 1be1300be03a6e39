package user

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

type finder interface {
	// FindByAccount returns the user of an account, or none.
	FindByAccount(ctx context.Context, account string) ([]im.Profile, error)
	// FindByEmail returns a few users of an e-mail address who let the seeker
	// find them by it.
	FindByEmail(ctx context.Context, seeker, email string) ([]im.Profile, error)
	// FindByPhone returns a few users of a telephone number, likewise.
	FindByPhone(ctx context.Context, seeker, phone string) ([]im.Profile, error)
}

type searchLimiter interface {
	// Allow counts a search. Overloaded: there were too many.
	Allow(ctx context.Context, user string) error
}

type searchRequest struct {
	Account string `json:"account"`
	Email   string `json:"email"`
	Phone   string `json:"phone"`
}

type found struct {
	Users []im.Profile `json:"users"`
}

// search finds users by the whole of one thing that the caller knows of them.
// Who is not there and who does not want to be found are not told apart, and a
// limit keeps the caller from trying many.
func search(users finder, limit searchLimiter) func(context.Context, im.Caller, searchRequest) (found, error) {
	return func(ctx context.Context, c im.Caller, in searchRequest) (found, error) {
		find, err := in.by(users, c.User)
		if err != nil {
			return found{}, err
		}
		if err := limit.Allow(ctx, c.User); err != nil {
			return found{}, err
		}
		profiles, err := find(ctx)
		if err != nil {
			return found{}, fmt.Errorf("searching users: %w", err)
		}
		if profiles == nil {
			profiles = []im.Profile{}
		}
		return found{profiles}, nil
	}
}

// by returns the search that in asks for.
func (in searchRequest) by(users finder, seeker string) (func(context.Context) ([]im.Profile, error), error) {
	account, email, phone := in.Account != "", in.Email != "", in.Phone != ""
	switch {
	case account && !email && !phone:
		account := strings.ToLower(in.Account)
		return func(ctx context.Context) ([]im.Profile, error) { return users.FindByAccount(ctx, account) }, im.CheckAccount(account)
	case email && !account && !phone:
		email, err := im.NormalEmail(in.Email)
		return func(ctx context.Context) ([]im.Profile, error) { return users.FindByEmail(ctx, seeker, email) }, err
	case phone && !account && !email:
		phone, err := im.NormalPhone(in.Phone)
		return func(ctx context.Context) ([]im.Profile, error) { return users.FindByPhone(ctx, seeker, phone) }, err
	}
	return nil, im.Errorf(im.Invalid, `a search is by one of "account", "email" and "phone"`)
}
