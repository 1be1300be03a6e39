package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type rotator interface {
	// RotateRefresh puts a refresh token in the place of another and returns
	// their session. Unauthenticated: the old one is not good any more.
	// Denied: it was used before, and the session that is returned is ended. A
	// token may be used again for grace after it was first used, for one that
	// was not used takes the place of another.
	RotateRefresh(ctx context.Context, oldHash, newHash []byte, expires time.Time, grace time.Duration) (im.Session, error)
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// refresh gives the next pair of tokens for a refresh token, which is then
// used up. One that comes a second time has been stolen, from or by whoever
// used it first, so nobody keeps the session; but for a grace, in which it may
// be that the answer to the first time was lost.
func refresh(sessions rotator, tokens tokens, end *ender) func(context.Context, refreshRequest) (issued, error) {
	return func(ctx context.Context, in refreshRequest) (issued, error) {
		old, ok := hashOf(in.RefreshToken)
		if !ok {
			return issued{}, im.Errorf(im.Unauthenticated, "this is not a refresh token: sign in again")
		}
		next := tokens.newRefresh()
		s, err := sessions.RotateRefresh(ctx, old, next.hash, next.expires, tokens.grace)
		if errors.Is(err, im.Denied) {
			end.log.WarnContext(ctx, "a refresh token came twice", "user", s.User)
			end.aside(ctx, frame.CloseRevoked, s.User, s.ID)
			return issued{}, audit.About(callerOf(s), im.Wrap(im.Unauthenticated, errors.Join(audit.TokenReused, err), "the refresh token was used before: its session is ended, sign in again"))
		}
		if err != nil {
			return issued{}, fmt.Errorf("refreshing: %w", err)
		}
		return tokens.issue(s, next)
	}
}
