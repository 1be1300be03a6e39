// Bot-create makes a bot of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(bot.Create) }
