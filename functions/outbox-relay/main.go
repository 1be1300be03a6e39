// Outbox-relay publishes the notices of changes whose makers did not.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/outbox"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(outbox.Relay) }
