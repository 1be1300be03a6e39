// Search-index notes of older messages where a search need not look for what.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/search"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(search.Index) }
