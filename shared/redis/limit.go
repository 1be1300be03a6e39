package redis

import (
	"context"

	"github.com/go-redis/redis_rate/v10"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/network"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingSignIns = proc.Setting{Name: "SIGN_INS_PER_MINUTE", Default: "10", Doc: "most attempts per minute of one address to sign in, and again to register, to ask for a password to be reset, to reset it and to sign in by an account elsewhere; of an IPv6 address a /64 counts as one, a /56 as two and a /48 as three; all strangers together may try to sign in to one account ten times as often, and each device that was signed in before as often as one address"}

// SignIns limits how often it is tried to sign in and to register (GCRA, by
// redis_rate). It fails closed: without Redis nobody does.
type SignIns struct {
	limiter   *redis_rate.Limiter
	perMinute int
}

// perAccount is how many addresses' attempts an account takes of strangers: so
// many that nobody keeps its owner out from one address, and too few to guess a
// password.
const perAccount = 10

// NewSignIns returns the limiter of sign-ins.
func (c *Client) NewSignIns(env *proc.Env) (*SignIns, error) {
	set := env.Settings()
	perMinute := set.Int(settingSignIns, 1)
	return &SignIns{redis_rate.NewLimiter(c.rdb), perMinute}, set.Err()
}

// AllowSignIn counts an attempt of a stranger at an address to sign in to an
// account. The error is Overloaded, and says when to try again, if either has
// had too many. All whose address is not known, "", count as one.
func (s *SignIns) AllowSignIn(ctx context.Context, account, address string) error {
	// The address first: one that has had too many counts against no account.
	if err := s.AllowFrom(ctx, "sign-in", address); err != nil {
		return err
	}
	return s.allow(ctx, "sign-in:account:{"+account+"}", perAccount*s.perMinute)
}

// AllowKnown counts an attempt of somebody who was let in to an account, in a lane
// of their own, which nobody else can fill. All lanes of an account have an end,
// too, which only those who are let in come to: each time gives another lane.
func (s *SignIns) AllowKnown(ctx context.Context, account, lane string) error {
	if err := s.allow(ctx, "sign-in:known:{"+account+"}:"+lane, s.perMinute); err != nil {
		return err
	}
	return s.allow(ctx, "sign-in:known:{"+account+"}", perAccount*s.perMinute)
}

// AllowDevice is AllowKnown of a device at an address. What strangers try there
// does not count; what devices do that are known, as often as ten strangers may,
// so that nobody makes accounts to try without end.
func (s *SignIns) AllowDevice(ctx context.Context, account, lane, address string) error {
	if err := s.AllowKnown(ctx, account, lane); err != nil {
		return err
	}
	return countFrom(ctx, s.limiter, "sign-in:known", address, redis_rate.PerMinute(perAccount*s.perMinute), tooMany)
}

// AllowRegistration counts an attempt to register from an address.
func (s *SignIns) AllowRegistration(ctx context.Context, address string) error {
	return s.AllowFrom(ctx, "register", address)
}

// AllowFrom counts an attempt of one address at something that anybody may
// do, as often as to sign in.
func (s *SignIns) AllowFrom(ctx context.Context, what, address string) error {
	return countFrom(ctx, s.limiter, what, address, redis_rate.PerMinute(s.perMinute), tooMany)
}

const tooMany = "too many attempts: wait and try again"

func (s *SignIns) allow(ctx context.Context, key string, perMinute int) error {
	return count(ctx, s.limiter, key, redis_rate.PerMinute(perMinute), 1, tooMany)
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
	MessageSearches = Limited{
		name:    "message-search",
		setting: proc.Setting{Name: "MESSAGE_SEARCHES_PER_MINUTE", Default: "60", Doc: "how often per minute a user may search messages; each further page counts, too"},
		per:     redis_rate.PerMinute,
		says:    "you search too often: wait and try again",
	}
	FriendRequests = Limited{
		name:    "friend-request",
		setting: proc.Setting{Name: "FRIEND_REQUESTS_PER_HOUR", Default: "60", Doc: "how often per hour a user may ask others to be friends"},
		per:     redis_rate.PerHour,
		says:    "you ask too many people to be friends: wait and try again",
	}
	Strangers = Limited{
		name:    "stranger",
		setting: proc.Setting{Name: "STRANGERS_ADDED_PER_HOUR", Default: "200", Doc: "how many users per hour a user may add to groups who are not friends of theirs; nobody asks these whether they want to be"},
		per:     redis_rate.PerHour,
		says:    "you add too many people to groups who are not your friends: wait and try again",
	}
	GroupChanges = Limited{
		name:    "group-change",
		setting: proc.Setting{Name: "GROUP_CHANGES_PER_HOUR", Default: "300", Doc: "how often per hour a user may make and change groups and their members: each is an entry in every member's inbox"},
		per:     redis_rate.PerHour,
		says:    "you change groups too often: wait and try again",
	}
	GroupJoins = Limited{
		name:    "group-join",
		setting: proc.Setting{Name: "GROUP_JOINS_PER_HOUR", Default: "120", Doc: "how often per hour a user may join groups, ask to, and leave them"},
		per:     redis_rate.PerHour,
		says:    "you join and leave groups too often: wait and try again",
	}
	Files = Limited{
		name:    "file",
		setting: proc.Setting{Name: "FILES_PER_HOUR", Default: "300", Doc: "how often per hour a user may create a file, or make a picture their avatar"},
		per:     redis_rate.PerHour,
		says:    "you send too many files: wait and try again",
	}
	Reactions = Limited{
		name:    "reaction",
		setting: proc.Setting{Name: "REACTIONS_PER_MINUTE", Default: "60", Doc: "how often per minute a user may react to messages or edit them: each is an entry in the inbox of everybody who has the message"},
		per:     redis_rate.PerMinute,
		says:    "you react and edit too often: wait and try again",
	}
	BotSecrets = Limited{
		name:    "bot-secret",
		setting: proc.Setting{Name: "BOT_SECRETS_PER_HOUR", Default: "30", Doc: "how often per hour a user may make a bot, a token of one or a webhook"},
		per:     redis_rate.PerHour,
		says:    "you make too many bots, tokens and webhooks: wait and try again",
	}
	PushSubscriptions = Limited{
		name:    "push-subscribe",
		setting: proc.Setting{Name: "PUSH_SUBSCRIPTIONS_PER_HOUR", Default: "60", Doc: "how often per hour a user may subscribe to Web Push, all devices together; each does so when it starts"},
		per:     redis_rate.PerHour,
		says:    "you subscribe too often: wait and try again",
	}
	// BotLogins is per network address.
	BotLogins = Limited{
		name:    "bot-login",
		setting: proc.Setting{Name: "BOT_LOGINS_PER_MINUTE", Default: "60", Doc: "how often per minute bots of one address may sign in, of an IPv6 address those of a /64, twice as often those of a /56 and three times those of a /48; each needs to four times an hour"},
		per:     redis_rate.PerMinute,
		says:    tooMany,
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
	return l.AllowN(ctx, user, 1)
}

// AllowN counts that a user does it n times more, or none of them.
func (l *Limit) AllowN(ctx context.Context, user string, n int) error {
	if n == 0 {
		return nil
	}
	if n > l.limit.Burst { // it would be refused whenever it is tried
		return im.Errorf(im.TooLarge, "%s (%d at once are the most)", l.of.says, l.limit.Burst)
	}
	return count(ctx, l.limiter, l.of.name+":{"+user+"}", l.limit, n, l.of.says)
}

// AllowIn is Allow of what a user does in a lane, which has a limit of its own;
// "" is that of all who have none.
func (l *Limit) AllowIn(ctx context.Context, user, lane string) error {
	return count(ctx, l.limiter, l.of.name+":{"+user+"}"+lane, l.limit, 1, l.of.says)
}

// AllowFrom is Allow of an address, which is counted by its networks.
func (l *Limit) AllowFrom(ctx context.Context, address string) error {
	return countFrom(ctx, l.limiter, l.of.name, address, l.limit, l.of.says)
}

// countFrom counts something of an address by each network that it is of. The
// smallest comes first: one that has had too many counts against no larger one.
func countFrom(ctx context.Context, limiter *redis_rate.Limiter, what, address string, limit redis_rate.Limit, says string) error {
	for _, n := range network.All(address) {
		of := limit
		of.Rate, of.Burst = n.Share*limit.Rate, n.Share*limit.Burst
		if err := count(ctx, limiter, what+":address:{"+n.Name+"}", of, 1, says); err != nil {
			return err
		}
	}
	return nil
}

// count counts n more of key, and refuses them in the words of says if they
// are too many.
func count(ctx context.Context, limiter *redis_rate.Limiter, key string, limit redis_rate.Limit, n int, says string) error {
	got, err := limiter.AllowN(ctx, key, limit, n)
	if err != nil {
		return unavailable("counting an attempt", err)
	}
	if got.Allowed == 0 {
		return &im.Error{Kind: im.Overloaded, Msg: says, RetryAfter: got.RetryAfter}
	}
	return nil
}
