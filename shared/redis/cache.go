package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// A versioned cache keeps things that are complete or absent, each as a hash
// of its version and its data. What is older never takes the place of what is
// newer: a process that read the database before a change and writes here
// after it is too late. A tombstone, which has a version but no data, says
// that anything older is not to be believed.
type versioned struct {
	client *Client
	kind   string // begins the keys
	ttl    time.Duration
}

// tombstoneTTL outlasts anybody who may be on the way with something old.
const tombstoneTTL = time.Minute

func (v versioned) key(id string) string { return v.kind + ":{" + id + "}" }

// fill keeps data of a version, unless something as new is there.
// ARGV: version, TTL in ms, data; without data it is a tombstone.
var fill = redis.NewScript(`
local had = redis.call('HGET', KEYS[1], 'version')
if had then
  local diff = tonumber(had) - tonumber(ARGV[1])
  if diff > 0 or (diff == 0 and redis.call('HEXISTS', KEYS[1], 'data') == 1) then
    return 0
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', ARGV[1])
if #ARGV == 3 then redis.call('HSET', KEYS[1], 'data', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`)

func (v versioned) put(ctx context.Context, id string, version int64, data string) error {
	run := script{keys: []string{v.key(id)}, args: []any{strconv.FormatInt(version, 10), v.ttl.Milliseconds(), data}}
	return v.client.eval(ctx, fill, 1, func(int) script { return run })[0].Err()
}

// invalidate says that what is older than version is not to be believed.
func (v versioned) invalidate(ctx context.Context, id string, version int64) error {
	run := script{keys: []string{v.key(id)}, args: []any{strconv.FormatInt(version, 10), tombstoneTTL.Milliseconds()}}
	return v.client.eval(ctx, fill, 1, func(int) script { return run })[0].Err()
}

// versions returns the versions that are known of ids. Those that are absent
// from the cache are absent here.
func (v versioned) versions(ctx context.Context, ids []string) (map[string]int64, error) {
	cmds := pipelined(ctx, v.client, len(ids), func(p redis.Pipeliner, i int) *redis.StringCmd {
		return p.HGet(ctx, v.key(ids[i]), "version")
	})
	if err := firstError(cmds); err != nil {
		return nil, err
	}
	known := make(map[string]int64, len(ids))
	for i, cmd := range cmds {
		if n, err := cmd.Int64(); err == nil {
			known[ids[i]] = n
		}
	}
	return known, nil
}

// get returns what is kept of id, and false if it is absent or a tombstone.
func (v versioned) get(ctx context.Context, id string) (version int64, data string, ok bool, err error) {
	got, err := v.client.rdb.HMGet(ctx, v.key(id), "version", "data").Result()
	if err != nil {
		return 0, "", false, err
	}
	text, _ := got[0].(string)
	data, ok = got[1].(string)
	if !ok {
		return 0, "", false, nil
	}
	if version, err = strconv.ParseInt(text, 10, 64); err != nil {
		return 0, "", false, fmt.Errorf("the version of %s: %w", v.key(id), err)
	}
	return version, data, true, nil
}
