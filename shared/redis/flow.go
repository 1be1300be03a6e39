package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/im"
)

// Flows are sign-ins that were begun and wait for their user to come back from
// elsewhere. Redis may forget them: who comes back begins anew.
type Flows struct{ client *Client }

// NewFlows returns them.
func (c *Client) NewFlows() Flows { return Flows{c} }

func flowKey(name string) string { return "oauth:{" + name + "}" }

// PutFlow keeps what is known of a flow for a while. A name is of one flow.
func (f Flows) PutFlow(ctx context.Context, name string, data []byte, ttl time.Duration) error {
	return unavailable("keeping a flow", f.client.rdb.Set(ctx, flowKey(name), data, ttl).Err())
}

// TakeFlow returns what is known of a flow, once. NotFound: it was taken, was
// never begun, or has expired.
func (f Flows) TakeFlow(ctx context.Context, name string) ([]byte, error) {
	data, err := f.client.rdb.GetDel(ctx, flowKey(name)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, im.Wrap(im.NotFound, err, "there is no such flow")
	}
	return data, unavailable("taking a flow", err)
}
