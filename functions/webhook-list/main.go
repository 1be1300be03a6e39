// Webhook-list returns the webhooks of the bots of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(webhook.List) }
