// Friend-request asks a user to be friends with the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(friend.Request) }
