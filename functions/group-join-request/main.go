// Group-join-request lets the caller into a group, or asks who may.
package main

import (
	"github.com/tidings-im/tidings/functions/internal/group"
	"github.com/tidings-im/tidings/shared/fn"
)

func main() { fn.Main(group.JoinRequest) }
