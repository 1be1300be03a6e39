// Package presence is the function that says who is online. Those who are
// friends are told of it without asking, by push-presence.
package presence

import (
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/redis"
)

// Get says which users are online, as far as the caller may see it.
var Get = fn.API("presence-get", im.UsersRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), get(friends.In(o), redis.OnlineIn(o)))
})
