package redis

import (
	"context"

	"github.com/go-redis/redis_rate/v10"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingSignIns = proc.Setting{Name: "SIGN_INS_PER_MINUTE", Default: "10", Doc: "most attempts per minute of one address to sign in, and again to register; of all addresses to sign in to one account, ten times that"}

// SignIns limits how often it is tried to sign in and to register (GCRA, by
// redis_rate). It fails closed: without Redis nobody does.
type SignIns struct {
	limiter   *redis_rate.Limiter
	perMinute int
}

// perAccount is how many addresses' attempts an account takes: so many that
// nobody keeps its owner out from one address, and too few to guess a password.
const perAccount = 10

// NewSignIns returns the limiter of sign-ins.
func (c *Client) NewSignIns(env *proc.Env) (*SignIns, error) {
	set := env.Settings()
	perMinute := set.Int(settingSignIns, 1)
	return &SignIns{redis_rate.NewLimiter(c.rdb), perMinute}, set.Err()
}

// AllowSignIn counts an attempt to sign in to an account from an address. The
// error is Overloaded, and says when to try again, if either has had too many.
// All whose address is not known, "", count as one.
func (s *SignIns) AllowSignIn(ctx context.Context, account, address string) error {
	// The address first: one that has had too many counts against no account.
	if err := s.allow(ctx, "sign-in:address:{"+address+"}", s.perMinute); err != nil {
		return err
	}
	return s.allow(ctx, "sign-in:account:{"+account+"}", perAccount*s.perMinute)
}

// AllowRegistration counts an attempt to register from an address, likewise.
func (s *SignIns) AllowRegistration(ctx context.Context, address string) error {
	return s.allow(ctx, "register:address:{"+address+"}", s.perMinute)
}

func (s *SignIns) allow(ctx context.Context, key string, perMinute int) error {
	got, err := s.limiter.Allow(ctx, key, redis_rate.PerMinute(perMinute))
	if err != nil {
		return unavailable("counting an attempt", err)
	}
	if got.Allowed == 0 {
		return &im.Error{
			Kind:       im.Overloaded,
			Msg:        "too many attempts: wait and try again",
			RetryAfter: got.RetryAfter,
		}
	}
	return nil
}
