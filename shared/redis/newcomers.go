package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingFirstHour = proc.Setting{Name: "STRANGERS_FIRST_HOUR", Default: "5", Doc: "strangers whom an account may write to, ask to be friends or add to groups in its first hour; who wrote to it first is none"}
	settingFirstDay  = proc.Setting{Name: "STRANGERS_FIRST_DAY", Default: "50", Doc: "likewise in its first day; after it the other limits alone hold"}
)

const (
	newFor      = 24 * time.Hour
	veryNewFor  = time.Hour
	metMost     = 1000    // strangers that are remembered to have written to a new account
	knownOld    = 1 << 16 // accounts that a process remembers to be old
	knownMet    = 1 << 16 // approaches that a process remembers
	saysTooMany = "a new account writes to few people whom it does not know: wait, or let them write to you first"
)

// Newcomers bounds how many strangers new accounts turn to. It fails closed. A
// Redis that has lost its memory takes all accounts for old.
type Newcomers struct {
	client    *Client
	hour, day int
	old       *lru.Cache[string, struct{}]   // none gets new again
	met       *lru.Cache[approach, struct{}] // who is no stranger to whom
}

type approach struct{ from, to string }

// OpenNewcomers returns the process's bounds of new accounts.
func OpenNewcomers(ctx context.Context, env *proc.Env) (*Newcomers, error) {
	c, err := Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "redis.Newcomers", func() (*Newcomers, func() error, error) {
		set := env.Settings()
		old, _ := lru.New[string, struct{}](knownOld) // fails only for a size below 1
		met, _ := lru.New[approach, struct{}](knownMet)
		n := &Newcomers{client: c, hour: set.Int(settingFirstHour, 0), day: set.Int(settingFirstDay, 0), old: old, met: met}
		return n, nil, set.Err()
	})
}

func newKey(user string) string { return "new:{" + user + "}" }
func metKey(user string) string { return "met:{" + user + "}" }

// ownerKey names the owner of a bot as long as they are new.
func ownerKey(bot string) string { return "new-owner:{" + bot + "}" }

// Mark notes that an account is new, before it is made.
func (n *Newcomers) Mark(ctx context.Context, user string) error {
	at := strconv.FormatInt(n.client.now().Std().UnixMilli(), 10)
	return unavailable("noting that an account is new", n.client.rdb.Set(ctx, newKey(user), at, newFor).Err())
}

// MarkBot notes that a bot is new, before it is made. As long as its owner is new
// it counts as they do, or one who is new would be as many as they make bots.
func (n *Newcomers) MarkBot(ctx context.Context, bot, owner string) error {
	left, err := n.client.rdb.PTTL(ctx, newKey(owner)).Result()
	if err == nil && left > 0 { // or there is no such key
		err = n.client.rdb.Set(ctx, ownerKey(bot), owner, left).Err()
	}
	if err != nil {
		return unavailable("noting that a bot is new", err)
	}
	return n.Mark(ctx, bot)
}

// counted returns the account that a user counts as.
func (n *Newcomers) counted(ctx context.Context, user string) (string, error) {
	owner, err := n.client.rdb.Get(ctx, ownerKey(user)).Result()
	if errors.Is(err, redis.Nil) {
		return user, nil
	}
	return owner, unavailable("asking whether an account is new", err)
}

// reach counts strangers to whom an account turns: all of them or none. It
// returns -1 of an account that is old, 0 if it may, and else after how many ms
// it may more. What is met is a hash of users, 1 if the account turned to them
// first, and their number at "n".
// ARGV: now, ms of the first step, most in it, ms of the second, most in it, strangers.
var reach = redis.NewScript(`
local made = redis.call('GET', KEYS[1])
if not made then return -1 end
local age, left, most = tonumber(ARGV[1]) - tonumber(made), tonumber(ARGV[4]), tonumber(ARGV[5])
if age < tonumber(ARGV[2]) then left, most = tonumber(ARGV[2]), tonumber(ARGV[3]) end
local fresh = {}
for i = 6, #ARGV do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then fresh[#fresh + 1] = ARGV[i] end
end
if #fresh == 0 then return 0 end
if tonumber(redis.call('HGET', KEYS[2], 'n') or '0') + #fresh > most then return math.max(left - age, 1000) end
for _, u in ipairs(fresh) do redis.call('HSET', KEYS[2], u, 1) end
redis.call('HINCRBY', KEYS[2], 'n', #fresh)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 0
`)

// met notes that somebody turned to an account, which may answer them then. It
// returns -1 of one that is old. ARGV: who, the most, TTL in ms.
var met = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[2]) then redis.call('HSETNX', KEYS[2], ARGV[1], 0) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 0
`)

// Reach counts that an account turns to strangers, all of them or none. The
// error is Overloaded if these are too many for one that is so new.
func (n *Newcomers) Reach(ctx context.Context, from string, strangers ...string) error {
	if n.old.Contains(from) {
		return nil
	}
	strangers = slices.DeleteFunc(slices.Clone(strangers), func(s string) bool { return n.met.Contains(approach{from, s}) })
	if len(strangers) == 0 {
		return nil
	}
	args := []any{n.client.now().Std().UnixMilli(), veryNewFor.Milliseconds(), n.hour, newFor.Milliseconds(), n.day}
	for _, s := range strangers {
		args = append(args, s)
	}
	as, err := n.counted(ctx, from)
	if err != nil {
		return err
	}
	run := script{keys: []string{newKey(as), metKey(as)}, args: args}
	wait, err := n.client.eval(ctx, reach, 1, func(int) script { return run })[0].Int64()
	switch {
	case err != nil:
		return unavailable("counting strangers", err)
	case wait > 0:
		return &im.Error{Kind: im.Overloaded, Msg: saysTooMany, RetryAfter: time.Duration(wait) * time.Millisecond}
	case wait < 0:
		n.old.Add(as, struct{}{})
		return nil
	}
	for _, s := range strangers {
		n.met.Add(approach{from, s}, struct{}{})
	}
	return nil
}

// Met notes that somebody turned to an account, which may answer.
func (n *Newcomers) Met(ctx context.Context, user, from string) error {
	if n.old.Contains(user) || n.met.Contains(approach{user, from}) {
		return nil
	}
	as, err := n.counted(ctx, user)
	if err != nil {
		return err
	}
	run := script{keys: []string{newKey(as), metKey(as)}, args: []any{from, metMost, newFor.Milliseconds()}}
	is, err := n.client.eval(ctx, met, 1, func(int) script { return run })[0].Int64()
	if err != nil {
		return unavailable("noting who has written", err)
	}
	if is < 0 {
		n.old.Add(as, struct{}{})
		return nil
	}
	n.met.Add(approach{user, from}, struct{}{})
	return nil
}
