// Totp-delete takes the second factor of the caller away.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.DeleteTOTP) }
