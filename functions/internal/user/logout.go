package user

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type sessionEnder interface {
	// EndSession ends a session, if it has not ended.
	EndSession(ctx context.Context, session string) error
}

type nothing struct{}

// logout ends the session of the caller. It may be repeated.
func logout(sessions sessionEnder, end *ender) func(context.Context, im.Caller, nothing) (nothing, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (nothing, error) {
		if err := sessions.EndSession(ctx, c.Session); err != nil {
			return nothing{}, fmt.Errorf("signing out: %w", err)
		}
		return nothing{}, end.session(ctx, c.User, c.Session)
	}
}
