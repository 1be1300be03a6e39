package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingMaxConns    = proc.Setting{Name: "MAX_CONNECTIONS_PER_USER", Default: "8", Doc: "most connections of one user; one more takes the place of the oldest"}
	settingGrace       = proc.Setting{Name: "PRESENCE_GRACE", Default: "10s", Doc: "how long a user counts as online after the last connection went: who comes back meanwhile was never away"}
	settingPerPlatform = proc.Setting{Name: "ONE_CONNECTION_PER_PLATFORM", Default: "true", Doc: "whether a connection takes the place of the user's other one on the same platform; of the same device it always does"}
)

// Presence is who is connected where. A connection is there while its lease
// lasts; a gateway extends the leases of all it holds.
//
// Of connections that exclude each other (one device; one platform, where the
// policy says so; more than a user may have) those that were made last stay,
// by the clock of Redis. The rule does not depend on the order in which
// gateways speak up, so it also holds after Redis has lost its memory and each
// gateway has told it anew.
type Presence struct {
	client      *Client
	lease       time.Duration
	grace       time.Duration
	max         int
	perPlatform bool
}

// NewPresence returns the presence of users, with leases of this length.
func (c *Client) NewPresence(env *proc.Env, lease time.Duration) (*Presence, error) {
	set := env.Settings()
	p := &Presence{
		client: c, lease: lease, grace: set.Duration(settingGrace),
		max: set.Int(settingMaxConns, 1), perPlatform: set.Bool(settingPerPlatform),
	}
	return p, set.Err()
}

func presenceKey(user string) string { return "presence:{" + user + "}" }

// admit adds a connection of a user, or extends its lease.
//
// KEYS: the user's connections, a hash: connection id → "lease-end since
// gateway device platform session", times in ms and µs by the clock of Redis;
// and what is remembered of the user (see look).
//
// ARGV: connection, since (0: it is new), gateway, device, platform, session, lease
// in ms, most connections, 1 if one per platform, for how many ms to remember.
//
// The answer: since; why the connection itself has to go, or ""; 1 if others are
// yet to be told that the user is online; then for each connection that has to
// go for it: why, its id and what was stored of it.
var admit = redis.NewScript(`
local key, seen, conn, since = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local gateway, device, platform, session = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease, most, perplatform = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local ms = math.floor(us / 1000)

local others, out, gone, newest = {}, {}, {}, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local id, v = all[i], all[i + 1]
  local ends, at, _, d, p = string.match(v, '^(%d+) (%d+) (%S+) (%S+) (%S+) ')
  if id == conn then
    -- written anew below
  elseif tonumber(ends) <= ms then
    gone[#gone + 1] = id
  else
    newest = math.max(newest, tonumber(at))
    others[#others + 1] = {id = id, v = v, at = tonumber(at), same = d == device or (perplatform and p == platform)}
  end
end

local new = since == 0
if new then since = math.max(us, newest + 1) end

local function later(at, id)
  return at > since or (at == since and id > conn)
end
local why = ''
local kept = {}
for _, o in ipairs(others) do
  if o.same and later(o.at, o.id) then why = 'replaced' end
end
for _, o in ipairs(others) do
  if o.same and why == '' then
    gone[#gone + 1] = o.id
    out[#out + 1] = 'replaced'
    out[#out + 1] = o.id
    out[#out + 1] = o.v
  else
    kept[#kept + 1] = o
  end
end
if why == '' and #kept >= most then
  table.sort(kept, function(a, b) return a.at < b.at or (a.at == b.at and a.id < b.id) end)
  local over = #kept + 1 - most
  if not later(kept[over].at, kept[over].id) then
    for i = 1, over do
      gone[#gone + 1] = kept[i].id
      out[#out + 1] = 'too-many'
      out[#out + 1] = kept[i].id
      out[#out + 1] = kept[i].v
    end
  else
    why = 'too-many'
  end
end
for _, id in ipairs(gone) do redis.call('HDEL', key, id) end
local stamp = string.format('%.0f', since)
local news = '0'
if why == '' then
  redis.call('HSET', key, conn, table.concat({string.format('%.0f', ms + lease), stamp, gateway, device, platform, session}, ' '))
  redis.call('PEXPIRE', key, lease)
  if redis.call('HSET', seen, 'at', string.format('%.0f', us)) == 1 or new then redis.call('PEXPIRE', seen, ARGV[10]) end
  local told = redis.call('HGET', seen, 'told')
  if new and not told then
    redis.call('HSET', seen, 'told', '0')
    told = '0'
  end
  if told == '0' then news = '1' end
else
  redis.call('HDEL', key, conn)
end
return {stamp, why, news, unpack(out)}
`)

func (p *Presence) admit(c im.Conn) script {
	perPlatform := 0
	if p.perPlatform {
		perPlatform = 1
	}
	return script{
		keys: []string{presenceKey(c.User), seenKey(c.User)},
		args: []any{c.ID, int64(c.Since), c.Gateway, c.Device, c.Platform, c.Session, p.lease.Milliseconds(), p.max, perPlatform, seenFor.Milliseconds()},
	}
}

// Connect adds a connection and returns it with Since set, and the connections
// that have to go for it, which are removed already. There is always room for
// a new connection: a lease that a dead gateway left behind keeps nobody out.
func (p *Presence) Connect(ctx context.Context, c im.Conn) (im.Conn, []im.Displaced, error) {
	c.Since = 0
	got, err := admitted(c.User, p.client.eval(ctx, admit, 1, func(int) script { return p.admit(c) })[0])
	if err == nil && got.why != "" {
		err = fmt.Errorf("the newest connection was refused as %s", got.why)
	}
	if err != nil {
		return c, nil, unavailable("adding a connection", err)
	}
	c.Since = got.since
	if got.news {
		p.look(ctx, 0, c.User) // should this fail, others are told later, by what Refresh leaves
	}
	return c, got.displaced, nil
}

// Refresh extends the leases of connections that Connect returned. It returns
// those that have to go: this gateway's own which were displaced by others,
// and, if Redis had lost its memory, others that one of these displaces. A
// connection that Redis does not know and none excludes is there again.
func (p *Presence) Refresh(ctx context.Context, conns []im.Conn) ([]im.Displaced, error) {
	var gone []im.Displaced
	var failed error
	var news []string
	users := make([]string, 0, len(conns))
	for i, cmd := range p.client.eval(ctx, admit, len(conns), func(i int) script { return p.admit(conns[i]) }) {
		got, err := admitted(conns[i].User, cmd)
		if err != nil {
			failed = err
			continue
		}
		if got.why != "" {
			gone = append(gone, im.Displaced{Conn: conns[i], Reason: got.why})
		} else if users = append(users, conns[i].User); got.news {
			news = append(news, conns[i].User)
		}
		gone = append(gone, got.displaced...)
	}
	// Should their gateway die, somebody looks when their leases have ended.
	if err := p.look(ctx, p.lease+p.grace, users...); err != nil {
		failed = err
	}
	if err := p.look(ctx, 0, news...); err != nil {
		failed = err
	}
	return gone, unavailable("extending leases", failed)
}

// dismiss removes a connection.
//
// KEYS and ARGV are those of admit as far as they go: the user's connections and
// what is remembered; the connection, for how many ms to remember.
//
// The answer is 1 if it was the last.
var dismiss = redis.NewScript(`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
redis.call('HSET', KEYS[2], 'at', string.format('%.0f', us))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
for _, v in ipairs(redis.call('HVALS', KEYS[1])) do
  if tonumber(string.match(v, '^%d+')) * 1000 > us then return 0 end
end
return 1
`)

// Disconnect removes connections.
func (p *Presence) Disconnect(ctx context.Context, conns ...im.Conn) error {
	cmds := p.client.eval(ctx, dismiss, len(conns), func(i int) script {
		return script{
			keys: []string{presenceKey(conns[i].User), seenKey(conns[i].User)},
			args: []any{conns[i].ID, seenFor.Milliseconds()},
		}
	})
	var left []string
	for i, cmd := range cmds {
		if last, err := cmd.Int(); err == nil && last == 1 {
			left = append(left, conns[i].User)
		}
	}
	err := firstError(cmds)
	if lookErr := p.look(ctx, p.grace, left...); err == nil {
		err = lookErr
	}
	return unavailable("removing connections", err)
}

// Lookup returns the connections of users. Users without any are absent. A
// connection whose gateway died may be among them until the user's next lease
// is extended: the registry no longer knows its gateway.
func (c *Client) Lookup(ctx context.Context, users []string) (map[string][]im.Conn, error) {
	cmds := pipelined(ctx, c, len(users), func(p redis.Pipeliner, i int) *redis.MapStringStringCmd {
		return p.HGetAll(ctx, presenceKey(users[i]))
	})
	if err := firstError(cmds); err != nil {
		return nil, unavailable("looking up connections", err)
	}
	conns := make(map[string][]im.Conn)
	for i, cmd := range cmds {
		for id, stored := range cmd.Val() {
			c, err := connOf(users[i], id, stored)
			if err != nil {
				return nil, unavailable("looking up connections", err)
			}
			conns[users[i]] = append(conns[users[i]], c)
		}
	}
	return conns, nil
}

// admission is an answer of admit.
type admission struct {
	since     im.Time
	why       string
	news      bool
	displaced []im.Displaced
}

func admitted(user string, cmd *redis.Cmd) (a admission, err error) {
	parts, err := cmd.StringSlice()
	if err != nil {
		return a, err
	}
	if len(parts) < 3 || len(parts)%3 != 0 {
		return a, fmt.Errorf("an answer of %d parts", len(parts))
	}
	at, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return a, err
	}
	a = admission{since: im.Time(at), why: parts[1], news: parts[2] == "1"}
	for rest := parts[3:]; len(rest) > 0; rest = rest[3:] {
		c, err := connOf(user, rest[1], rest[2])
		if err != nil {
			return a, err
		}
		a.displaced = append(a.displaced, im.Displaced{Conn: c, Reason: rest[0]})
	}
	return a, nil
}

// connOf reads what is stored of a connection.
func connOf(user, id, stored string) (im.Conn, error) {
	f := strings.Split(stored, " ")
	if len(f) != 6 {
		return im.Conn{}, fmt.Errorf("connection %s is stored in %d fields", id, len(f))
	}
	since, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return im.Conn{}, fmt.Errorf("connection %s: %w", id, err)
	}
	return im.Conn{ID: id, User: user, Gateway: f[2], Device: f[3], Platform: f[4], Session: f[5], Since: im.Time(since)}, nil
}
