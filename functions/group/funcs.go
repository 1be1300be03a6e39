// Package group is the functions of groups: group-create, group-list,
// group-get, group-update, group-dissolve, group-members, group-invite,
// group-remove, group-leave, group-role, group-mute, group-ban, group-bans,
// group-unban, group-join-request, group-join-requests and group-join-respond. Who may do what is im.Rights.
package group

import (
	"context"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var settingGroups = proc.Setting{Name: "MAX_GROUPS_PER_USER", Default: "1000", Doc: "most groups that a user is in, their own among them; who is added to several at once may be in a few more"}

// hundred is what a page of a hundred groups or users takes, each with texts as
// long as they may be, as it is read and as JSON.
const hundred = 2 << 20

// Create makes a group of the caller and others.
var Create = fn.API("group-create", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, (&creator{changing(o), invitesIn(o), im.Now}).call)
})

// List returns the groups of the caller.
var List = fn.API("group-list", im.GroupsRead, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), list(groups.In(o))) }).Holds(hundred)

// Get returns a group.
var Get = fn.API("group-get", im.GroupsRead, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), get(groups.In(o))) })

// Update changes the name of a group, what is said about it and its policy.
var Update = fn.API("group-update", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, update(changing(o)))
}).AuditsRefusals()

// Dissolve ends a group.
var Dissolve = fn.API("group-dissolve", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, dissolve(changing(o)))
}).Audits(audit.PermissionsChanged)

// Members returns who is in a group.
var Members = fn.API("group-members", im.GroupsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), members(groups.In(o)))
}).Holds(6 << 20) // a page as it is read, and as JSON

// Invite adds users to a group.
var Invite = fn.API("group-invite", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, (&inviter{changing(o), invitesIn(o), im.Now}).call)
}).AuditsRefusals()

// Remove takes users out of a group.
var Remove = fn.API("group-remove", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, remove(changing(o), im.Now))
}).Audits(audit.PermissionsChanged)

// Leave takes the caller out of a group.
var Leave = fn.API("group-leave", im.GroupsWrite, func(o *fn.Opener) fn.Handler { return changes(o, redis.GroupJoins, leave(changing(o), im.Now)) })

// Role says what a member is in a group.
var Role = fn.API("group-role", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, role(changing(o)))
}).Asks(fn.FreshTo("role", string(im.RoleOwner))).Audits(audit.PermissionsChanged) // whom a group was handed to keeps it

// Mute keeps a member of a group, or all, from speaking.
var Mute = fn.API("group-mute", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, (&muter{changing(o), im.Now}).call)
}).Audits(audit.PermissionsChanged)

// Ban keeps a user out of a group.
var Ban = fn.API("group-ban", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, (&banner{changing(o), im.Now}).ban)
}).Audits(audit.PermissionsChanged)

// Bans returns who is banned from a group.
var Bans = fn.API("group-bans", im.GroupsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), bans(groups.In(o)))
}).Holds(hundred).AuditsRefusals()

// Unban lifts that.
var Unban = fn.API("group-unban", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, unban(changing(o)))
}).Audits(audit.PermissionsChanged)

// JoinRequest lets the caller into a group, or asks who may.
var JoinRequest = fn.API("group-join-request", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupJoins, (&joiner{changing(o), invitesIn(o), im.Now}).ask)
})

// JoinRequests returns who asks to join a group.
var JoinRequests = fn.API("group-join-requests", im.GroupsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), requests(groups.In(o)))
}).Holds(hundred).AuditsRefusals()

// JoinRespond answers who asks to join a group.
var JoinRespond = fn.API("group-join-respond", im.GroupsWrite, func(o *fn.Opener) fn.Handler {
	return changes(o, redis.GroupChanges, (&joiner{changing(o), invitesIn(o), im.Now}).respond)
}).AuditsRefusals()

// changes answers calls that change a group, as often as each user may. What one
// does to one's own membership is counted by itself (GroupJoins), so that nobody
// stays in a group for having changed others.
func changes[In, Out any](o *fn.Opener, of redis.Limited, f func(context.Context, im.Caller, In) (Out, error)) fn.Handler {
	return fn.CallAs(redis.GateIn(o), fn.Limited(redis.LimitIn(o, of), f))
}

func changing(o *fn.Opener) changer { return outbox.ChangesIn[tx](o, groups.With) }

func invitesIn(o *fn.Opener) invites {
	return invites{friends.In(o), direct.Policy(o.Settings), o.Int(settingGroups, 1), redis.LimitIn(o, redis.Strangers), redis.NewcomersIn(o)}
}
