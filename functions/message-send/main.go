// Message-send takes a message in from who holds no socket, such as a bot.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/chat"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(chat.Send) }
