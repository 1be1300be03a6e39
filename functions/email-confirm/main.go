// Email-confirm takes the code by which the caller proves that address to be theirs.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.ConfirmEmail) }
