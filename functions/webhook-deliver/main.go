// Webhook-deliver delivers messages that have come into the inboxes of bots to their webhooks.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(webhook.Deliver) }
