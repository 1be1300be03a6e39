// Totp-confirm has it asked for from then on, and gives recovery codes.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.ConfirmTOTP) }
