// File-complete looks at what has arrived of a file.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(file.Complete) }
