// User-update changes what users say of themselves.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(user.Update) }
