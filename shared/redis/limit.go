package redis

import (
	"context"

	"github.com/go-redis/redis_rate/v10"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingSignIns = proc.Setting{Name: "SIGN_INS_PER_MINUTE", Default: "10", Doc: "most attempts to sign in per minute, for each account and for each address"}

// SignIns limits how often it is tried to sign in (GCRA, by redis_rate). It
// fails closed: without Redis nobody signs in.
type SignIns struct {
	limiter *redis_rate.Limiter
	limit   redis_rate.Limit
}

// NewSignIns returns the limiter of sign-ins.
func (c *Client) NewSignIns(env *proc.Env) (*SignIns, error) {
	set := env.Settings()
	perMinute := set.Int(settingSignIns, 1)
	return &SignIns{redis_rate.NewLimiter(c.rdb), redis_rate.PerMinute(perMinute)}, set.Err()
}

// Allow counts an attempt to sign in against an account and, unless it is
// empty, an address. The error is Overloaded, and says when to try again, if
// either has had too many.
func (s *SignIns) Allow(ctx context.Context, account, address string) error {
	// The address first: one that has had too many locks out no more accounts.
	var keys []string
	if address != "" {
		keys = append(keys, "sign-in:address:{"+address+"}")
	}
	keys = append(keys, "sign-in:account:{"+account+"}")
	for _, key := range keys {
		got, err := s.limiter.Allow(ctx, key, s.limit)
		if err != nil {
			return unavailable("counting an attempt to sign in", err)
		}
		if got.Allowed == 0 {
			return &im.Error{
				Kind:       im.Overloaded,
				Msg:        "too many attempts to sign in: wait and try again",
				RetryAfter: got.RetryAfter,
			}
		}
	}
	return nil
}
