package redis

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// Withdraw makes sure that nothing is taken from a cache that is older than
// what stale says.
func (c *Client) Withdraw(ctx context.Context, stale []im.Stale) error {
	members := versioned{c, "members", membersTTL}
	for _, s := range stale {
		var err error
		if s.Group != "" {
			err = members.invalidate(ctx, s.Group, s.Version)
		} else {
			err = c.rdb.Del(ctx, relationKey(s.Pair)).Err()
		}
		if err != nil {
			return unavailable("withdrawing what a cache holds", err)
		}
	}
	return nil
}
