// Password-forgot mails a code to whoever has proved that an address is theirs.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.ForgotPassword) }
