// Message-history hands the history of a conversation to its members.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/history"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(history.Read) }
