// Chat-ingest takes in the messages that clients send: it gives each its place
// in its conversation and makes it durable.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/chat"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(chat.Ingest) }
