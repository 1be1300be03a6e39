package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
)

// A tombstone keeps what is old out of a versioned cache, but a Redis that
// loses its memory loses tombstones, too. So who is going to read the source
// takes a lease first, and what they read is kept only if the lease is there
// still: then nothing was lost since before they read (after memcached's leases:
// Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, §3.2.1). All who
// read at the same time have the same lease.

// leaseTTL outlasts reading the source. A lease that has run out costs a read.
const leaseTTL = 2 * fillTime

// takeOrRead returns version and data, or a lease. ARGV: a new lease, TTL in ms.
var takeOrRead = redis.NewScript(`
local had = redis.call('HMGET', KEYS[1], 'version', 'data', 'lease')
if had[2] then return {had[1], had[2]} end
local lease = had[3]
if not lease then
  lease = ARGV[1]
  redis.call('HSET', KEYS[1], 'lease', lease)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {lease}
`)

// keepUnder keeps data of a version under a lease, unless something newer is known.
// ARGV: version, TTL in ms, data, lease.
var keepUnder = redis.NewScript(`
local had = redis.call('HMGET', KEYS[1], 'version', 'lease')
if had[2] ~= ARGV[4] or (had[1] and tonumber(had[1]) > tonumber(ARGV[1])) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'data', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`)

// take returns what is kept of id, or else a lease to read it.
func (v versioned) take(ctx context.Context, id string) (version int64, data, lease string, err error) {
	run := script{keys: []string{v.key(id)}, args: []any{im.NewID(), leaseTTL.Milliseconds()}}
	got, err := v.client.eval(ctx, takeOrRead, 1, func(int) script { return run })[0].StringSlice()
	switch {
	case err != nil:
		return 0, "", "", err
	case len(got) == 1:
		return 0, "", got[0], nil
	case len(got) != 2:
		return 0, "", "", fmt.Errorf("reading %s: %d values", v.key(id), len(got))
	}
	if version, err = strconv.ParseInt(got[0], 10, 64); err != nil {
		return 0, "", "", fmt.Errorf("the version of %s: %w", v.key(id), err)
	}
	return version, got[1], "", nil
}

// keep keeps what was read under a lease for a while, and reports whether it
// did.
func (v versioned) keep(ctx context.Context, id string, version int64, data, lease string, ttl time.Duration) (bool, error) {
	run := script{keys: []string{v.key(id)}, args: []any{strconv.FormatInt(version, 10), ttl.Milliseconds(), data, lease}}
	kept, err := v.client.eval(ctx, keepUnder, 1, func(int) script { return run })[0].Int()
	return kept == 1, err
}
