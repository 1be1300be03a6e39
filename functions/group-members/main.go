// Group-members returns who is in a group, or what has changed of that.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(group.Members) }
