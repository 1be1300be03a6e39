// Friend-respond answers who has asked the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(friend.Respond) }
