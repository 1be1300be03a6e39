// Push-subscribe has the device of the caller notified by Web Push.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/away"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(away.Subscribe) }
