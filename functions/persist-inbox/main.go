// Persist-inbox puts each accepted message into the inbox of everyone concerned.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(inbox.Persist) }
