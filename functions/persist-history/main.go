// Persist-history adds each accepted message to the history of its conversation.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/history"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(history.Persist) }
