// Friend-requests lists what waits for an answer, of the caller or by the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(friend.Requests) }
