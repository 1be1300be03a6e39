// Archive-history makes the partitions of history ahead and moves old ones to
// objects.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/archive"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(archive.Move) }
