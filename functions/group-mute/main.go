// Group-mute keeps a member of a group, or all, from speaking.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(group.Mute) }
