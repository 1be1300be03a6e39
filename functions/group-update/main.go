// Group-update changes the name of a group, what is said about it and its policy.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(group.Update) }
