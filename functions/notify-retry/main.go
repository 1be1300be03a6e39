// Notify-retry sends notifications that are due and nobody else has sent.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/away"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(away.Retry) }
