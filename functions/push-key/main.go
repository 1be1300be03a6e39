// Push-key returns the key by which browsers subscribe to Web Push.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/away"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(away.Key) }
