// Package friend is the functions of what people are to each other:
// friend-request, friend-requests, friend-respond, friend-list, friend-update,
// friend-delete, block-set and block-list. It does not know what friends or
// blocks mean to messages: im.Relation says so.
package friend

import (
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingFriends = proc.Setting{Name: "MAX_FRIENDS", Default: "5000", Doc: "most friends that a user may have"}
	settingLife    = proc.Setting{Name: "FRIEND_REQUEST_TTL", Default: "720h", Doc: "how long a request to be friends waits for an answer"}
)

// Request asks a user to be friends with the caller.
var Request = fn.API("friend-request", im.FriendsWrite, func(o *fn.Opener) fn.Handler {
	r := &requester{
		change: outbox.ChangesIn[asking](o, friends.With), limit: redis.LimitIn(o, redis.FriendRequests), newcomers: redis.NewcomersIn(o),
		most: o.Int(settingFriends, 1), life: o.Duration(settingLife), now: im.Now,
	}
	return fn.CallAs(redis.GateIn(o), r.request)
})

// hundred is what a page of a hundred users takes, each with texts as long as
// they may be, as it is read and as JSON.
const hundred = 2 << 20

// Requests lists what waits for an answer, of the caller or by the caller.
var Requests = fn.API("friend-requests", im.FriendsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), requests(friends.In(o), o.Duration(settingLife), im.Now))
}).Holds(hundred)

// Respond answers who has asked the caller.
var Respond = fn.API("friend-respond", im.FriendsWrite, func(o *fn.Opener) fn.Handler {
	r := &responder{change: outbox.ChangesIn[responding](o, friends.With), most: o.Int(settingFriends, 1), life: o.Duration(settingLife), now: im.Now}
	return fn.CallAs(redis.GateIn(o), r.respond)
})

// List lists the friends of the caller, or what has changed of them.
var List = fn.API("friend-list", im.FriendsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), list(friends.In(o)))
}).Holds(6 << 20) // a page as it is read, and as JSON

// Update changes what the caller calls a friend.
var Update = fn.API("friend-update", im.FriendsWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), update(outbox.ChangesIn[remarking](o, friends.With)))
})

// Delete ends a friendship of the caller.
var Delete = fn.API("friend-delete", im.FriendsWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), remove(outbox.ChangesIn[parting](o, friends.With)))
})

// Block has the caller block another, or no longer.
var Block = fn.API("block-set", im.FriendsWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), set(outbox.ChangesIn[blocking](o, friends.With)))
})

// Blocks lists whom the caller has blocked.
var Blocks = fn.API("block-list", im.FriendsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), blocks(friends.In(o)))
}).Holds(hundred)
