// Message-recall empties a message, for everybody.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/message"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(message.Recall) }
