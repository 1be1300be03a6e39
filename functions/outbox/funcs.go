// Package outbox is the function that publishes the notices that a crash left:
// outbox-relay.
package outbox

import (
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/outbox"
)

// Relay publishes the notices of changes whose makers did not.
var Relay = fn.Every("outbox-relay", time.Minute, func(o *fn.Opener) fn.Handler { return fn.Timed(outbox.In(o).Relay) })
