// File-get hands out a file and a link to get it by.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(file.Get) }
