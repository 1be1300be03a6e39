package user

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type profiles interface {
	// Self returns a user as they see themselves; NotFound if they are not
	// there, or not any more.
	Self(ctx context.Context, user string) (im.Self, error)
	// Profile returns a user as everybody sees them, even if they were deleted.
	Profile(ctx context.Context, user string) (im.Profile, error)
}

type getRequest struct {
	User string `json:"user"` // an id, or "me"
}

// get returns the caller to themselves, and of everybody else the profile.
func get(users profiles) func(context.Context, im.Caller, getRequest) (any, error) {
	return func(ctx context.Context, c im.Caller, in getRequest) (any, error) {
		if in.User == "me" || in.User == c.User {
			u, err := users.Self(ctx, c.User)
			if err != nil {
				return nil, fmt.Errorf("reading a user: %w", gone(err))
			}
			return u, nil
		}
		if !im.IsID(in.User) {
			return nil, im.Errorf(im.Invalid, `"user" is the id of a user, or me`)
		}
		p, err := users.Profile(ctx, in.User)
		if err != nil {
			return nil, fmt.Errorf("reading a user: %w", err)
		}
		return p, nil
	}
}

// gone says to a caller who is not found that they are nobody any more.
func gone(err error) error {
	if errors.Is(err, im.NotFound) {
		return im.Wrap(im.Unauthenticated, err, "this user has been deleted")
	}
	return err
}
