// Presence-get says which users are online, as far as the caller may see it.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/presence"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(presence.Get) }
