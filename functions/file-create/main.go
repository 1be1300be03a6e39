// File-create begins a file and hands out links to send it by.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(file.Create) }
