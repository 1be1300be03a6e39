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
	return count(ctx, s.limiter, key, redis_rate.PerMinute(perMinute), "too many attempts: wait and try again")
}

// A Limited is something that a user may do only so often.
type Limited struct {
	name    string // begins the keys
	setting proc.Setting
	per     func(times int) redis_rate.Limit
	says    string // to who did it too often
}

// What has a limit of its own, beside that of the gate.
var (
	Searches = Limited{
		name:    "search",
		setting: proc.Setting{Name: "SEARCHES_PER_MINUTE", Default: "30", Doc: "how often per minute a user may search for others"},
		per:     redis_rate.PerMinute,
		says:    "you search too often: wait and try again",
	}
	FriendRequests = Limited{
		name:    "friend-request",
		setting: proc.Setting{Name: "FRIEND_REQUESTS_PER_HOUR", Default: "60", Doc: "how often per hour a user may ask others to be friends"},
		per:     redis_rate.PerHour,
		says:    "you ask too many people to be friends: wait and try again",
	}
)

// A Limit bounds how often each user does something (GCRA, by redis_rate). It
// fails closed: without Redis nobody does it.
type Limit struct {
	limiter *redis_rate.Limiter
	limit   redis_rate.Limit
	of      Limited
}

// OpenLimit returns the limit of something.
func OpenLimit(ctx context.Context, env *proc.Env, of Limited) (*Limit, error) {
	c, err := Open(ctx, env)
	if err != nil {
		return nil, err
	}
	set := env.Settings()
	times := set.Int(of.setting, 1)
	return &Limit{limiter: redis_rate.NewLimiter(c.rdb), limit: of.per(times), of: of}, set.Err()
}

// Allow counts that a user does it once more. The error is Overloaded, and says
// when to try again, if that is too often.
func (l *Limit) Allow(ctx context.Context, user string) error {
	return count(ctx, l.limiter, l.of.name+":{"+user+"}", l.limit, l.of.says)
}

// count counts one more of key, and refuses it in the words of says if it is
// one too many.
func count(ctx context.Context, limiter *redis_rate.Limiter, key string, limit redis_rate.Limit, says string) error {
	got, err := limiter.Allow(ctx, key, limit)
	if err != nil {
		return unavailable("counting an attempt", err)
	}
	if got.Allowed == 0 {
		return &im.Error{Kind: im.Overloaded, Msg: says, RetryAfter: got.RetryAfter}
	}
	return nil
}
