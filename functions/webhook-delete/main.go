// Webhook-delete deletes a webhook.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/webhook"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(webhook.Delete) }
