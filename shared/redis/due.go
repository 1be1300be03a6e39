package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Whose presence is to be looked at, and when, is in a few sorted sets: a
// user → ms by the clock of Redis. Who is connected is in them with the time
// at which the lease will have ended for so long that the user counts as gone,
// so that somebody notices even if their gateway dies.
const dueShards = 16

// dueFor is how long users are left to who took them.
const dueFor = 30 * time.Second

// dueMost is how many users are taken from one set at a time.
const dueMost = 8

func dueKey(shard int) string { return "presence-due:{" + strconv.Itoa(shard) + "}" }

func dueShard(user string) int {
	h := fnv.New32a()
	h.Write([]byte(user))
	return int(h.Sum32() % dueShards)
}

// postpone sets when users are to be looked at. KEYS: the set. ARGV: in how
// many ms; users.
var postpone = redis.NewScript(`
local t = redis.call('TIME')
local at = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[1]))
for from = 2, #ARGV, 1000 do
  local add = {}
  for i = from, math.min(from + 999, #ARGV) do
    add[#add + 1] = at
    add[#add + 1] = ARGV[i]
  end
  redis.call('ZADD', KEYS[1], unpack(add))
end
return 0
`)

// take takes users whose time has come. KEYS: the set. ARGV: how many at most;
// for how many ms. The answer: until when, and the users.
var take = redis.NewScript(`
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local users = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', ms), 'LIMIT', 0, ARGV[1])
local till = string.format('%.0f', ms + tonumber(ARGV[2]))
for _, user in ipairs(users) do redis.call('ZADD', KEYS[1], till, user) end
return {till, unpack(users)}
`)

// release takes users out of a set, unless their time was set anew since they
// were taken. KEYS: the set. ARGV: until when they were taken; users.
var release = redis.NewScript(`
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and tonumber(at) == tonumber(ARGV[1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return 0
`)

// look has the presence of users looked at after a while, and not before.
func (p *Presence) look(ctx context.Context, after time.Duration, users ...string) error {
	if len(users) == 0 {
		return nil
	}
	var shards [dueShards][]any
	for _, u := range users {
		s := dueShard(u)
		shards[s] = append(shards[s], u)
	}
	var runs []script
	for i, users := range shards {
		if len(users) > 0 {
			runs = append(runs, script{keys: []string{dueKey(i)}, args: append([]any{after.Milliseconds()}, users...)})
		}
	}
	return firstError(p.client.eval(ctx, postpone, len(runs), func(i int) script { return runs[i] }))
}

// Due returns some users whose presence is to be looked at, and leaves them to
// the caller for half a minute. done says that it was looked at; users of whom
// nobody says so are due again.
func (p *Presence) Due(ctx context.Context) (users []string, done func(context.Context) error, err error) {
	cmds := p.client.eval(ctx, take, dueShards, func(i int) script {
		return script{keys: []string{dueKey(i)}, args: []any{dueMost, dueFor.Milliseconds()}}
	})
	var runs []script
	for i, cmd := range cmds {
		got, e := cmd.StringSlice()
		if e == nil && len(got) == 0 {
			e = errors.New("an empty answer")
		}
		if e != nil {
			err = e
			continue
		}
		if len(got) == 1 {
			continue
		}
		run := script{keys: []string{dueKey(i)}}
		for _, v := range got {
			run.args = append(run.args, v)
		}
		runs = append(runs, run)
		users = append(users, got[1:]...)
	}
	if err != nil && len(users) == 0 {
		return nil, nil, unavailable("asking whose presence is due", err)
	}
	return users, func(ctx context.Context) error {
		err := firstError(p.client.eval(ctx, release, len(runs), func(i int) script { return runs[i] }))
		return unavailable(fmt.Sprintf("releasing %d users", len(users)), err)
	}, nil
}
