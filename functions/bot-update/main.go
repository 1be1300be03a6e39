// Bot-update changes what a bot of the caller says of itself.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(bot.Update) }
