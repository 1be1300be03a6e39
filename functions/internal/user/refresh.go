package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type rotator interface {
	// RotateRefresh puts a refresh token in the place of another and returns
	// their session. Unauthenticated: the old one is not good any more.
	// Denied: it was used before, and the session that is returned is ended.
	RotateRefresh(ctx context.Context, oldHash, newHash []byte, expires time.Time) (im.Session, error)
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// refresh gives the next pair of tokens for a refresh token, which is then
// used up. One that comes a second time has been stolen, from or by whoever
// used it first, so nobody keeps the session.
func refresh(sessions rotator, tokens tokens, end *ender) func(context.Context, refreshRequest) (issued, error) {
	return func(ctx context.Context, in refreshRequest) (issued, error) {
		old, ok := hashOf(in.RefreshToken)
		if !ok {
			return issued{}, im.Errorf(im.Unauthenticated, "this is not a refresh token: sign in again")
		}
		next := tokens.newRefresh()
		s, err := sessions.RotateRefresh(ctx, old, next.hash, next.expires)
		if errors.Is(err, im.Denied) {
			if err := end.session(ctx, s.User, s.ID); err != nil {
				end.log.ErrorContext(ctx, "a stolen session lives on until its access token expires", "user", s.User, "err", err)
			}
			return issued{}, im.Wrap(im.Unauthenticated, err, "the refresh token was used before: its session is ended, sign in again")
		}
		if err != nil {
			return issued{}, fmt.Errorf("refreshing: %w", err)
		}
		return tokens.issue(s, next)
	}
}
