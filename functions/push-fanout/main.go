// Push-fanout brings messages from inboxes to the gateways that hold sockets
// of those whose inboxes they are.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/push"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(push.Fanout) }
