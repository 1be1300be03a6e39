// Message-react puts an emoji of the caller on a message, or takes it off.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/message"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(message.React) }
