// Conversation-update pins, mutes and hides a conversation of a user.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/conversation"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(conversation.Update) }
