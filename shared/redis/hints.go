package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// headTTL is how long the head of an inbox that nothing is added to is
// remembered. Forgetting it costs one read of the store.
const headTTL = 7 * 24 * time.Hour

func headKey(user string) string { return "head:{" + user + "}" }

// raise sets KEYS[1] to ARGV[1] unless it is greater already.
var raise = redis.NewScript(`
local had = redis.call('GET', KEYS[1])
if not had or tonumber(had) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 0
`)

// Heads returns hints of the greatest seq in the inbox of each user. Users of
// whom nothing is known are absent.
func (c *Client) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	cmds := pipelined(ctx, c, len(users), func(p redis.Pipeliner, i int) *redis.StringCmd {
		return p.Get(ctx, headKey(users[i]))
	})
	if err := firstError(cmds); err != nil {
		return nil, unavailable("reading heads", err)
	}
	heads := make(map[string]int64, len(users))
	for i, cmd := range cmds {
		if n, err := cmd.Int64(); err == nil {
			heads[users[i]] = n
		}
	}
	return heads, nil
}

// RaiseHeads notes that the inboxes of users reach to these seqs at least. It
// never lowers a hint.
func (c *Client) RaiseHeads(ctx context.Context, heads map[string]int64) error {
	users := make([]string, 0, len(heads))
	for user := range heads {
		users = append(users, user)
	}
	ttl := int64(headTTL.Seconds())
	cmds := c.eval(ctx, raise, len(users), func(i int) script {
		return script{keys: []string{headKey(users[i])}, args: []any{strconv.FormatInt(heads[users[i]], 10), ttl}}
	})
	return unavailable("raising heads", firstError(cmds))
}
