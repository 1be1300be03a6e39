package redis

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
)

// relationTTL is by how much what is known of two users may be late: nothing
// invalidates it.
const relationTTL = 10 * time.Second

// A RelationSource is where it is kept what users are to each other.
type RelationSource interface {
	// Relations returns the relation of each pair.
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error)
}

// Relations are what users are to each other, read through a cache. Without
// Redis the source is read each time.
type Relations struct {
	client *Client
	from   RelationSource
}

// NewRelations returns the relations of users, read from a source through a cache.
func (c *Client) NewRelations(from RelationSource) *Relations { return &Relations{c, from} }

func relationKey(p im.Pair) string { return "relation:{" + p.A + ":" + p.B + "}" }

// Relations returns the relation of each pair.
func (r *Relations) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	cmds := pipelined(ctx, r.client, len(pairs), func(p redis.Pipeliner, i int) *redis.StringCmd {
		return p.Get(ctx, relationKey(pairs[i]))
	})
	out := make(map[im.Pair]im.Relation, len(pairs))
	var missing []im.Pair
	for i, cmd := range cmds {
		if s, err := cmd.Result(); err == nil && len(s) == 1 {
			out[pairs[i]] = relationOf(s[0])
		} else {
			missing = append(missing, pairs[i])
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	found, err := r.from.Relations(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		out[p] = found[p]
	}
	if firstError(cmds) == nil { // a relation that is not kept is read again
		pipelined(ctx, r.client, len(missing), func(p redis.Pipeliner, i int) *redis.StatusCmd {
			return p.Set(ctx, relationKey(missing[i]), []byte{stored(found[missing[i]])}, relationTTL)
		})
	}
	return out, nil
}

// A relation is stored in one letter, a for none and up, a bit for each field.

func stored(r im.Relation) byte {
	b := byte('a')
	for i, is := range [...]bool{r.Exist, r.Blocked, r.Friends} {
		if is {
			b += 1 << i
		}
	}
	return b
}

func relationOf(b byte) im.Relation {
	b -= 'a'
	return im.Relation{Exist: b&1 != 0, Blocked: b&2 != 0, Friends: b&4 != 0}
}
