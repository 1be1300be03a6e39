// Webhook-retry delivers to webhooks what has failed or was left.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(webhook.Retry) }
