package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingWindow = proc.Setting{Name: "PLACE_WINDOW", Default: "1h", Doc: "how long a message that is sent again under its client id is known to be the same; older submissions are refused"}

// windowSlack is by how much places outlast the window, so that clocks may
// disagree about when it ends.
const windowSlack = 2 * time.Minute

// PlaceWindow is for how long a place is kept, counted from when the message
// was submitted.
func (c *Client) PlaceWindow() time.Duration { return c.window }

// Replaceable returns for how long after its time a message can be given the
// place of that time again, and so be written to Kafka for the first time. A
// hash of places is written to for a period, and outlives its last write by two.
func Replaceable(env *proc.Env) (time.Duration, error) {
	set := env.Settings()
	window := set.Duration(settingWindow)
	return 3 * (window + windowSlack), set.Err()
}

// place gives messages their places in one conversation.
//
// KEYS: the last time given; the places of this period; those of the period
// before; when the budget of a group is full again (see charge); when each
// member of a slow group last wrote. A place is a field of a hash, named by a hash of sender and client
// id: 76 to 126 bytes where a conversation has five messages or more in a
// period, and a key of its own would be 272. When the current hash is older
// than a period it becomes the one before, so that a place is kept for one
// period at least and two at most.
//
// ARGV: now, the period, and what a full budget has, in µs; then for each
// message its field, its random bits, its digest, what it costs the group, how
// long its sender has to wait after the one before, and the sender. The answer
// has for each 0 or 1 (given before), followed by what is stored: 16 digits of
// time, 8 bytes of random bits, the digest. Or, of a message that gets no
// place, 2 (the group has had too much) or 3 (the sender is to wait), followed
// by for how many µs.
//
// A hash begins with its own first time, at the field "since".
var place = redis.NewScript(`
local now, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
now = math.max(now, last + 1)
local since = tonumber(redis.call('HGET', KEYS[2], 'since') or '0')
if since > 0 and now - since > period then
  redis.call('UNLINK', KEYS[3])
  redis.call('RENAME', KEYS[2], KEYS[3])
  since = 0
end
local out, new, taken = {}, {}, {}
local full, charged
local function refused(cost, slow, from)
  if slow > 0 then
    local wait = tonumber(redis.call('HGET', KEYS[5], from) or '0') + slow - now
    if wait > 0 then return '3' .. string.format('%.0f', math.ceil(wait)) end
  end
  if cost > 0 then
    full = math.max(now, full or tonumber(redis.call('GET', KEYS[4]) or '0'))
    local wait = full + cost - now - burst
    if wait > 0 then return '2' .. string.format('%.0f', math.ceil(wait)) end
    full, charged = full + cost, true
  end
  if slow > 0 then
    redis.call('HSET', KEYS[5], from, string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[5], string.format('%.0f', math.ceil(slow / 1000)))
  end
end
for i = 4, #ARGV, 6 do
  local field = ARGV[i]
  local had = taken[field] or redis.call('HGET', KEYS[2], field) or redis.call('HGET', KEYS[3], field)
  local no = not had and refused(tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), ARGV[i + 5])
  if had then
    out[#out + 1] = '1' .. had
  elseif no then
    out[#out + 1] = no
  else
    local stored = string.format('%016.0f', now) .. ARGV[i + 1] .. ARGV[i + 2]
    taken[field] = stored
    new[#new + 1] = field
    new[#new + 1] = stored
    out[#out + 1] = '0' .. stored
    last = now
    now = now + 1
  end
end
if charged then
  redis.call('SET', KEYS[4], string.format('%.0f', full), 'PX', string.format('%.0f', math.ceil((full - now) / 1000) + 1))
end
if #new > 0 then
  if since == 0 then
    redis.call('HSET', KEYS[2], 'since', string.format('%.0f', last))
  end
  for i = 1, #new, 2 do
    redis.call('HSET', KEYS[2], new[i], new[i + 1])
  end
  local ttl = string.format('%.0f', period / 500)
  redis.call('PEXPIRE', KEYS[2], ttl)
  redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', ttl)
end
return out
`)

const (
	storedTime   = 16
	storedRandom = 8
	storedFixed  = 1 + storedTime + storedRandom
)

// Place gives each message its place: a time later than any that was given in
// its conversation, and an id made of it. A message that was placed within the
// window, whoever asks, gets the same place again. Messages of one
// conversation are placed in the order in which they are asked for, all or
// none; those of others do not depend on them. An error of Place is in the
// results: Unavailable, where it is not known whether a place was given, or
// Conflict; or Overloaded, where none was: the group has had too many
// messages, or it is slow and the sender has to wait.
func (c *Client) Place(ctx context.Context, reqs []im.PlaceRequest) []im.PlaceResult {
	out := make([]im.PlaceResult, len(reqs))
	if len(reqs) == 0 {
		return out
	}
	now := c.now()
	period := (c.window + windowSlack).Microseconds()
	random := make([]byte, storedRandom*len(reqs))
	rand.Read(random)

	runs, members := make([]script, 0, len(reqs)), make([][]int, 0, len(reqs))
	index := make(map[im.Conversation]int, len(reqs))
	for i, r := range reqs {
		n, ok := index[r.Conversation]
		if !ok {
			n = len(runs)
			index[r.Conversation] = n
			slot := "{" + string(r.Conversation) + "}"
			runs = append(runs, script{
				keys: []string{"last:" + slot, "placed:" + slot, "placed-before:" + slot, "budget:" + slot, "spoke:" + slot},
				args: []any{int64(now), period, micros(c.group.cost(int(c.group.burst)))},
			})
			members = append(members, nil)
		}
		runs[n].args = append(runs[n].args, placeField(r), random[storedRandom*i:storedRandom*(i+1)], r.Digest,
			micros(c.group.cost(r.Recipients)), r.Slow.Microseconds(), r.From)
		members[n] = append(members[n], i)
	}
	for n, cmd := range c.eval(ctx, place, len(runs), func(i int) script { return runs[i] }) {
		stored, err := cmd.StringSlice()
		if err == nil && len(stored) != len(members[n]) {
			err = fmt.Errorf("%d answers to %d messages", len(stored), len(members[n]))
		}
		for j, i := range members[n] {
			if err != nil {
				out[i].Err = unavailable("placing messages", err)
			} else {
				out[i] = placed(stored[j], reqs[i].Digest)
			}
		}
	}
	return out
}

// placeField names the place of a message: 128 bits of a hash, of one size
// whatever a client chooses for its id.
func placeField(r im.PlaceRequest) []byte {
	h := sha256.Sum256([]byte(r.From + "\x00" + r.ClientID))
	return h[:16]
}

// placed reads one answer of the script.
func placed(s, digest string) im.PlaceResult {
	if s != "" && s[0] > '1' {
		return notPlaced(s)
	}
	if len(s) < storedFixed {
		return im.PlaceResult{Err: unavailable("placing messages", fmt.Errorf("an answer of %d bytes", len(s)))}
	}
	t, err := strconv.ParseInt(s[1:1+storedTime], 10, 64)
	if err != nil {
		return im.PlaceResult{Err: unavailable("placing messages", err)}
	}
	if s[storedFixed:] != digest {
		return im.PlaceResult{Err: im.Errorf(im.Conflict, "you have used this id for another message: a new message needs a new id")}
	}
	at := im.Time(t)
	return im.PlaceResult{
		Place: im.Place{Time: at, ID: im.MessageID(at, [storedRandom]byte([]byte(s[1+storedTime:storedFixed])))},
		Again: s[0] == '1',
	}
}

// notPlaced reads an answer of the script that refuses a message.
func notPlaced(s string) im.PlaceResult {
	us, err := strconv.ParseInt(s[1:], 10, 64)
	if err != nil {
		return im.PlaceResult{Err: unavailable("placing messages", err)}
	}
	wait := time.Duration(us) * time.Microsecond
	says := "this group has had too many messages for its size: wait and try again"
	if s[0] == '3' {
		says = fmt.Sprintf("this group is in slow mode: you may write again in %d seconds", int64(math.Ceil(wait.Seconds())))
	}
	return im.PlaceResult{Err: &im.Error{Kind: im.Overloaded, Msg: says, RetryAfter: wait}}
}
