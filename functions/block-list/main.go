// Block-list lists whom the caller has blocked.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/friend"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(friend.Blocks) }
