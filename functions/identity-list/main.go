// Identity-list lists the accounts elsewhere by which the caller signs in.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/account"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(account.Identities) }
