package redis

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// Withdraw makes sure that nothing is taken from a cache that is older than
// what stale says.
func (c *Client) Withdraw(ctx context.Context, stale []im.Stale) error {
	members, relations := versioned{c, "members", membersTTL}, c.relations()
	cmds := c.eval(ctx, fill, len(stale), func(i int) script {
		s := stale[i]
		if s.Group != "" {
			return members.tombstone(s.Group, s.Version)
		}
		return relations.tombstone(relationID(s.Pair), s.Version)
	})
	return unavailable("withdrawing what a cache holds", firstError(cmds))
}
