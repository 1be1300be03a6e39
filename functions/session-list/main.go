// Session-list says where the caller is signed in.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(user.Sessions) }
