// Push-signal passes typing and signal frames on to the gateways that hold
// sockets of the others in a conversation.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/push"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(push.Signal) }
