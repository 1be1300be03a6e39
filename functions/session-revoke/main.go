// Session-revoke ends a session of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(user.Revoke) }
