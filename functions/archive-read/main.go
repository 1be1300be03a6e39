// Archive-read reads messages that have left history, for other functions.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/archive"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(archive.Read) }
