// Oauth-start begins to sign in by an account elsewhere, or to link one.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.StartOAuth) }
