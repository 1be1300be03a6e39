// Bot-token-delete ends a token of a bot of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(bot.DeleteToken) }
