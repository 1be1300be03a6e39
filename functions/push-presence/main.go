// Push-presence tells the friends of users that these have come or gone.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/push"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(push.Presence) }
