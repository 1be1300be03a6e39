// Message-edit gives a message of the caller's another text.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/message"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(message.Edit) }
