package fn

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// A Limit bounds how often each user does something.
type Limit interface {
	// Allow counts that a user does it once more. Overloaded: that is too often.
	Allow(ctx context.Context, user string) error
}

// Limited returns f for callers who do not do it too often.
func Limited[In, Out any](often Limit, f func(context.Context, im.Caller, In) (Out, error)) func(context.Context, im.Caller, In) (Out, error) {
	return func(ctx context.Context, c im.Caller, in In) (out Out, err error) {
		if err := often.Allow(ctx, c.User); err != nil {
			return out, err
		}
		return f(ctx, c, in)
	}
}
