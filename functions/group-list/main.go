// Group-list returns the groups of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(group.List) }
