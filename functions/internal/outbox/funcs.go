// Package outbox is the function that publishes the notices that a crash left:
// outbox-relay.
package outbox

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/proc"
)

// Relay publishes the notices of changes whose makers did not.
var Relay = fn.Func{
	Name:  "outbox-relay",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		box, err := outbox.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.Timed(box.Relay), nil
	},
}
