package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// seenFor is how long it is remembered when a user was last connected.
const seenFor = 30 * 24 * time.Hour

// seenKey is of what is remembered of a user, a hash: at is when they were last
// known to be connected, in µs by the clock of Redis; told is 1 if others were
// last told that they are online, 0 if they were not.
func seenKey(user string) string { return "seen:{" + user + "}" }

// Online says which users are online: those who have a connection, or had one
// a moment ago (PRESENCE_GRACE).
type Online struct {
	client *Client
	grace  time.Duration
}

// NewOnline returns who is online.
func (c *Client) NewOnline(env *proc.Env) (*Online, error) {
	set := env.Settings()
	o := &Online{client: c, grace: set.Duration(settingGrace)}
	return o, set.Err()
}

// observe says whether a user is online.
//
// KEYS: the user's connections (see admit) and what is remembered. ARGV: the
// grace in ms; for how many ms to remember that others are told now, 0 if they
// are not.
//
// The answer: 1 if the user is online; when they were last connected, or "";
// 1 if others were told something else before, or nothing.
var observe = redis.NewScript(`
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local had = redis.call('HMGET', KEYS[2], 'at', 'told')
local online = '0'
if had[1] and us - tonumber(had[1]) < tonumber(ARGV[1]) * 1000 then online = '1' end
for _, v in ipairs(redis.call('HVALS', KEYS[1])) do
  if tonumber(string.match(v, '^%d+')) * 1000 > us then online = '1' end
end
local turned = '0'
if had[2] ~= online then turned = '1' end
if turned == '1' and ARGV[2] ~= '0' then
  redis.call('HSET', KEYS[2], 'told', online)
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return {online, had[1] or '', turned}
`)

func (o *Online) observe(ctx context.Context, users []string, tell time.Duration, f func(p im.Presence, turned bool)) error {
	cmds := o.client.eval(ctx, observe, len(users), func(i int) script {
		return script{
			keys: []string{presenceKey(users[i]), seenKey(users[i])},
			args: []any{o.grace.Milliseconds(), tell.Milliseconds()},
		}
	})
	var failed error
	for i, cmd := range cmds {
		got, err := cmd.StringSlice()
		if err == nil && len(got) != 3 {
			err = fmt.Errorf("an answer of %d parts", len(got))
		}
		p := im.Presence{User: users[i]}
		if err == nil && got[0] == "1" {
			p.Online = true
		} else if err == nil && got[1] != "" {
			var at int64
			at, err = strconv.ParseInt(got[1], 10, 64)
			p.LastSeen = im.Time(at)
		}
		if err != nil {
			failed = err
			continue
		}
		f(p, got[2] == "1")
	}
	return unavailable("asking who is online", failed)
}

// Of returns the presence of each user, in their order.
func (o *Online) Of(ctx context.Context, users []string) ([]im.Presence, error) {
	all := make([]im.Presence, 0, len(users))
	err := o.observe(ctx, users, 0, func(p im.Presence, _ bool) { all = append(all, p) })
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Turned returns the presence of those users of whom others were last told
// something else, or nothing, and notes that they are told now: of two who ask
// at the same time one is answered. What is returned beside an error is noted, too.
func (o *Online) Turned(ctx context.Context, users []string) ([]im.Presence, error) {
	var turned []im.Presence
	err := o.observe(ctx, users, seenFor, func(p im.Presence, is bool) {
		if is {
			turned = append(turned, p)
		}
	})
	return turned, err
}

// Untold notes that others could not be told after all what Turned returned.
func (o *Online) Untold(ctx context.Context, turned []im.Presence) error {
	cmds := pipelined(ctx, o.client, len(turned), func(p redis.Pipeliner, i int) *redis.IntCmd {
		told := 1
		if turned[i].Online {
			told = 0
		}
		return p.HSet(ctx, seenKey(turned[i].User), "told", told)
	})
	return unavailable("noting that nobody was told of users", firstError(cmds))
}
