// Message-sync hands a user what their inbox holds after a seq.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(inbox.Sync) }
