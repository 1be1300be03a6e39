package redis

import "context"

// Forget deletes what is kept of a user who was deleted: the head of their
// inbox, their connections, when they were online. It may be repeated.
func (c *Client) Forget(ctx context.Context, user string) error {
	return unavailable("forgetting a user", c.rdb.Del(ctx, headKey(user), presenceKey(user), seenKey(user)).Err())
}
