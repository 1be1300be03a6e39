// Message-delete deletes messages for the caller alone.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/message"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(message.Delete) }
