package redis

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

func endedKey(session string) string { return "ended:{" + session + "}" }

// MarkEnded notes for ttl that a session has ended, for gateways that were not
// reached when it did. ttl is at least how long an access token is good.
func (c *Client) MarkEnded(ctx context.Context, session string, ttl time.Duration) error {
	return unavailable("noting the end of a session", c.rdb.Set(ctx, endedKey(session), 1, ttl).Err())
}

// Ended returns those of sessions that are known to have ended.
func (c *Client) Ended(ctx context.Context, sessions []string) (map[string]bool, error) {
	cmds := pipelined(ctx, c, len(sessions), func(p redis.Pipeliner, i int) *redis.IntCmd {
		return p.Exists(ctx, endedKey(sessions[i]))
	})
	if err := firstError(cmds); err != nil {
		return nil, unavailable("asking which sessions have ended", err)
	}
	ended := make(map[string]bool)
	for i, cmd := range cmds {
		if cmd.Val() > 0 {
			ended[sessions[i]] = true
		}
	}
	return ended, nil
}
