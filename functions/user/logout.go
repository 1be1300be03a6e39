package user

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

type sessionEnder interface {
	// EndSession ends a session of a user, if it has not ended. NotFound: they
	// have none of this id.
	EndSession(ctx context.Context, user, session string) error
}

type nothing struct{}

// logout ends the session of the caller. It may be repeated.
func logout(sessions sessionEnder, end *ender) func(context.Context, im.Caller, nothing) (nothing, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (nothing, error) {
		err := sessions.EndSession(ctx, c.User, c.Session)
		if err != nil && !errors.Is(err, im.NotFound) { // it ended long ago, and was swept away
			return nothing{}, fmt.Errorf("signing out: %w", err)
		}
		return nothing{}, end.sessions(ctx, frame.CloseSignedOut, c.User, c.Session)
	}
}
