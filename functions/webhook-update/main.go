// Webhook-update changes a webhook, or its secret.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(webhook.Update) }
