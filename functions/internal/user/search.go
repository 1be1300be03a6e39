package user

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

type searchRequest struct {
	Account string `json:"account"`
}

type found struct {
	Users []im.User `json:"users"`
}

// search finds the user of an account: one, or none.
func search(users accounts) func(context.Context, im.Caller, searchRequest) (found, error) {
	return func(ctx context.Context, _ im.Caller, in searchRequest) (found, error) {
		account := strings.ToLower(in.Account)
		if err := im.CheckAccount(account); err != nil {
			return found{}, err
		}
		u, _, err := users.UserByAccount(ctx, account)
		if errors.Is(err, im.NotFound) {
			return found{Users: []im.User{}}, nil
		}
		if err != nil {
			return found{}, fmt.Errorf("searching an account: %w", err)
		}
		return found{Users: []im.User{u}}, nil
	}
}
