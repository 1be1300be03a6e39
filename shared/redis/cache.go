package redis

import (
	"context"
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

// putAll keeps n things at once: of each the id, the version and the data.
func (v versioned) putAll(ctx context.Context, n int, thing func(int) (string, int64, string)) error {
	ttl := v.ttl.Milliseconds()
	return firstError(v.client.eval(ctx, fill, n, func(i int) script {
		id, version, data := thing(i)
		return script{keys: []string{v.key(id)}, args: []any{strconv.FormatInt(version, 10), ttl, data}}
	}))
}

// tombstone is run by fill. It says that what is older than version is not to be
// believed.
func (v versioned) tombstone(id string, version int64) script {
	return script{keys: []string{v.key(id)}, args: []any{strconv.FormatInt(version, 10), tombstoneTTL.Milliseconds()}}
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
