// Email-verify mails a code to the e-mail address of the caller.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.VerifyEmail) }
