// Conversation-list hands a user their conversations, the pinned and the newest first.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/conversation"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(conversation.List) }
