// Inbox-trim removes what is old from inboxes.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(inbox.Trim) }
