// Friend-list lists the friends of the caller, or what has changed of them.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(friend.List) }
