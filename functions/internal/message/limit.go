package message

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

type limiter interface {
	// Allow counts that a user does it once more. Overloaded: that is too often.
	Allow(ctx context.Context, user string) error
}

// limited is f for who does not do it too often: each time is an entry in the
// inbox of everybody who has the message, which nobody sees.
func limited[In, Out any](limit limiter, f func(context.Context, im.Caller, In) (Out, error)) func(context.Context, im.Caller, In) (Out, error) {
	return func(ctx context.Context, caller im.Caller, in In) (Out, error) {
		if err := limit.Allow(ctx, caller.User); err != nil {
			var none Out
			return none, err
		}
		return f(ctx, caller, in)
	}
}
