// Totp-setup gives the caller a second factor that they have yet to confirm.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.SetUpTOTP) }
