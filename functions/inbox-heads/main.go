// Inbox-heads says how far the inboxes of users reach.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/inbox"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(inbox.Heads) }
