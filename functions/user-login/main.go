// User-login signs a device in: it gives out the tokens of a new session.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(user.Login) }
