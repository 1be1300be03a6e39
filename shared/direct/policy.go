// Package direct says who may write to whom directly, as the site has it: one
// rule for all functions that ask im.Relation.MayWrite.
package direct

import (
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var settingPolicy = proc.Setting{Name: "DIRECT_POLICY", Default: "open", Doc: "who may write to a user directly: open is anybody whom they have not blocked, friends is their friends only"}

// Policy returns the policy of the site.
func Policy(set *proc.Settings) string {
	return set.OneOf(settingPolicy, im.DirectOpen, im.DirectFriends)
}
