// Avatar-set makes a picture the avatar of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/file"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(file.SetAvatar) }
