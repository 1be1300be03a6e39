// Bot-token-create gives a bot of the caller another token.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(bot.CreateToken) }
