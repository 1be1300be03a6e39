// File-sweep removes files that nobody has a use for.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(file.Sweep) }
