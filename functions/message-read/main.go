// Message-read notes up to which message a user has read a conversation.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/conversation"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(conversation.Read) }
