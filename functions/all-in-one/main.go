// All-in-one runs every function in one process, for a laptop or a small site.
package main

import (
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(functions.All...) }
