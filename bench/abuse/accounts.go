package abuse

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// oneSite has somebody who holds a /48 try to sign in, each time from another
// /64 of it.
func oneSite(_ context.Context, s *Site, _ *Bystanders) (assault, error) {
	var n atomic.Int64
	return guess(s, func() (account, address string) { return "m" + im.NewID(), inSite(n.Add(1)) }), nil
}

// guesses has strangers all over the world guess the password of a bystander,
// who signs in meanwhile.
func guesses(_ context.Context, s *Site, b *Bystanders) (assault, error) {
	var n atomic.Int64
	return guess(s, func() (account, address string) {
		i := n.Add(1)
		return b.cyd.Account, fmt.Sprintf("203.%d.%d.%d", i>>16&255, i>>8&255, i&255)
	}), nil
}

// guess tries passwords of accounts from addresses that next returns.
func guess(s *Site, next func() (account, address string)) assault {
	t := newTally()
	return assault{
		run: func(ctx context.Context) {
			work(ctx, 128, 20*time.Millisecond, func(ctx context.Context, _ int) {
				p := s.stranger()
				p.Account, p.address = next()
				status, err := p.signIn(ctx)
				t.status(status, ended(ctx, err))
			})
		},
		held: func(context.Context) error {
			return firstError(func() error { return t.some("429") }, func() error { return t.most("200", 0) })
		},
		tally: t,
	}
}
