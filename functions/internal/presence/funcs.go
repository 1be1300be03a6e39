// Package presence is the function that says who is online. Those who are
// friends are told of it without asking, by push-presence.
package presence

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Get says which users are online, as far as the caller may see it.
var Get = fn.Func{
	Name:    "presence-get",
	Accepts: event.CallType("presence-get"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, redisErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		online, err := cache.NewOnline(env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, get(db, online)), nil
	},
}
