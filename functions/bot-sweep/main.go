// Bot-sweep deletes the bots of users who were deleted, and ends tokens that have expired.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/bot"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(bot.Sweep) }
