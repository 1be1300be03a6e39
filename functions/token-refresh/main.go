// Token-refresh gives the next pair of tokens of a session.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(user.Refresh) }
