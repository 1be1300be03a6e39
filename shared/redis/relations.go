package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
)

// relationTTL is by how much it may be late that a user is no longer there,
// which has no version. Of the rest nothing is.
const relationTTL = 10 * time.Second

// A RelationSource is where it is kept what users are to each other.
type RelationSource interface {
	// Relations returns the relation of each pair.
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error)
}

// Relations are what users are to each other, read through a cache. Without
// Redis the source is read each time.
type Relations struct {
	cache versioned
	from  RelationSource
}

// NewRelations returns the relations of users, read from a source through a cache.
func (c *Client) NewRelations(from RelationSource) *Relations {
	return &Relations{c.relations(), from}
}

func (c *Client) relations() versioned { return versioned{c, "relation", relationTTL} }

func relationID(p im.Pair) string { return p.A + ":" + p.B }

// Relations returns the relation of each pair.
func (r *Relations) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	cmds := pipelined(ctx, r.cache.client, len(pairs), func(p redis.Pipeliner, i int) *redis.StringCmd {
		return p.HGet(ctx, r.cache.key(relationID(pairs[i])), "data")
	})
	out := make(map[im.Pair]im.Relation, len(pairs))
	var missing []im.Pair
	for i, cmd := range cmds {
		if got, ok := relationOf(cmd.Val()); ok {
			out[pairs[i]] = got
		} else {
			missing = append(missing, pairs[i])
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	begun := time.Now()
	found, err := r.from.Relations(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		out[p] = found[p]
	}
	// A relation that is not kept is read again. Nor is one kept that took so
	// long that a newer one may have come, and gone again, meanwhile.
	if firstError(cmds) == nil && time.Since(begun) < relationTTL {
		r.cache.putAll(ctx, len(missing), func(i int) (string, int64, string) {
			got := found[missing[i]]
			return relationID(missing[i]), got.Version, stored(got)
		})
	}
	return out, nil
}

// A relation is stored as one letter, a for none and up, a bit for each field,
// and its version.

func stored(r im.Relation) string {
	b := byte('a')
	for i, is := range [...]bool{r.Exist, r.Blocked, r.Friends} {
		if is {
			b += 1 << i
		}
	}
	return string(b) + strconv.FormatInt(r.Version, 10)
}

// relationOf reads what stored wrote, and reports whether it did.
func relationOf(s string) (im.Relation, bool) {
	if s == "" {
		return im.Relation{}, false
	}
	version, err := strconv.ParseInt(s[1:], 10, 64)
	b := s[0] - 'a'
	return im.Relation{Exist: b&1 != 0, Blocked: b&2 != 0, Friends: b&4 != 0, Version: version}, err == nil && b < 8
}
