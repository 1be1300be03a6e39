// Message-search finds messages in the conversations of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/search"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(search.Search) }
