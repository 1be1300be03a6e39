package account

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type identityLister interface {
	// Identities returns the accounts elsewhere by which a user signs in.
	Identities(ctx context.Context, user string) ([]im.Identity, error)
}

type identityList struct {
	Identities []im.Identity `json:"identities"`
}

// list returns the accounts elsewhere by which the caller signs in: one of a
// provider at most.
func list(of identityLister) func(context.Context, im.Caller, nothing) (identityList, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (identityList, error) {
		all, err := of.Identities(ctx, c.User)
		if err != nil {
			return identityList{}, fmt.Errorf("listing identities: %w", err)
		}
		if all == nil {
			all = []im.Identity{}
		}
		return identityList{all}, nil
	}
}

type identityRemover interface {
	// DeleteIdentity removes an account elsewhere by which a user signs in, if
	// it is there. Conflict: they could not sign in any more.
	DeleteIdentity(ctx context.Context, user, provider string) error
}

type unlinkRequest struct {
	Provider string `json:"provider"`
}

// unlink removes one. It may be repeated.
func unlink(of identityRemover) func(context.Context, im.Caller, unlinkRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in unlinkRequest) (nothing, error) {
		if !providerName.MatchString(in.Provider) {
			return nothing{}, im.Errorf(im.Invalid, `"provider" is the name of a provider`)
		}
		if err := of.DeleteIdentity(ctx, c.User, in.Provider); err != nil {
			return nothing{}, fmt.Errorf("removing an identity: %w", err)
		}
		return nothing{}, nil
	}
}
