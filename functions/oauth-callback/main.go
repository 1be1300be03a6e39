// Oauth-callback ends what oauth-start began: it signs a device in, or links.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.EndOAuth) }
