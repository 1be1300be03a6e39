// Gateway holds the WebSocket connections of clients and hands their HTTP
// calls to functions.
package main

import (
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/proc"
)

func main() { proc.Main("gateway", server.Run) }
