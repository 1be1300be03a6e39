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
	// RefreshSession returns the session of a refresh token, whether it is good
	// or not; "" if the token is not known.
	RefreshSession(ctx context.Context, hash []byte) (string, error)
}

type refreshLimiter interface {
	// AllowFrom counts a refresh token that comes from an address. Overloaded: too
	// many did.
	AllowFrom(ctx context.Context, address string) error
	// Allow counts one of a session, likewise.
	Allow(ctx context.Context, session string) error
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// refresh gives the next pair of tokens for a refresh token, which is then
// used up. One that comes a second time has been stolen, from or by whoever
// used it first, so nobody keeps the session; but for a grace, in which it may
// be that the answer to the first time was lost.
func refresh(sessions rotator, limit refreshLimiter, tokens tokens, end *ender) func(context.Context, string, refreshRequest) (issued, error) {
	return func(ctx context.Context, address string, in refreshRequest) (issued, error) {
		old, ok := hashOf(in.RefreshToken)
		if !ok {
			return issued{}, im.Errorf(im.Unauthenticated, "this is not a refresh token: sign in again")
		}
		if err := countRefresh(ctx, sessions, limit, address, old); err != nil {
			return issued{}, fmt.Errorf("refreshing: %w", err)
		}
		next := tokens.newRefresh()
		s, err := sessions.RotateRefresh(ctx, old, next.hash, next.expires, tokens.grace)
		if errors.Is(err, im.Denied) {
			end.log.WarnContext(ctx, "a refresh token came twice", "user", s.User)
			end.aside(ctx, frame.CloseRevoked, s.User, s.ID)
			return issued{}, audit.About(callerOf(s), im.Wrap(im.Unauthenticated, errors.Join(audit.ErrTokenReused, err), "the refresh token was used before: its session is ended, sign in again"))
		}
		if err != nil {
			return issued{}, fmt.Errorf("refreshing: %w", err)
		}
		return tokens.issue(s, next)
	}
}

// countRefresh counts a refresh token by where it comes from, and then by its
// session. It fails open: no such token is guessed, and nobody is to be signed out
// because nobody counts.
func countRefresh(ctx context.Context, sessions rotator, limit refreshLimiter, address string, hash []byte) error {
	if err := limit.AllowFrom(ctx, address); errors.Is(err, im.Overloaded) {
		return err
	}
	session, err := sessions.RefreshSession(ctx, hash)
	if err != nil || session == "" {
		return err
	}
	if err := limit.Allow(ctx, session); errors.Is(err, im.Overloaded) {
		return err
	}
	return nil
}
