// Notify-away notifies devices that are offline of messages.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/away"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(away.Notify) }
