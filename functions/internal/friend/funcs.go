// Package friend is the functions of what people are to each other:
// friend-request, friend-requests, friend-respond, friend-list, friend-update,
// friend-delete, block-set and block-list. It does not know what friends or
// blocks mean to messages: im.Relation says so.
package friend

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingFriends = proc.Setting{Name: "MAX_FRIENDS", Default: "5000", Doc: "most friends that a user may have"}
	settingLife    = proc.Setting{Name: "FRIEND_REQUEST_TTL", Default: "720h", Doc: "how long a request to be friends waits for an answer"}
)

// Request asks a user to be friends with the caller.
var Request = fn.Func{
	Name:    "friend-request",
	Accepts: event.CallType("friend-request"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most, life := set.Int(settingFriends, 1), set.Duration(settingLife)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.FriendRequests)
		newcomers, newErr := redis.OpenNewcomers(ctx, env)
		gate, box, err := open(ctx, env)
		if err := errors.Join(set.Err(), limitErr, newErr, err); err != nil {
			return fn.Handler{}, err
		}
		r := &requester{limit: limit, newcomers: newcomers, most: most, life: life, now: im.Now}
		r.change = func(ctx context.Context, f func(context.Context, asking) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		}
		return fn.CallAs(gate, r.request), nil
	},
}

// hundred is what a page of a hundred users takes, each with texts as long as
// they may be, as it is read and as JSON.
const hundred = 2 << 20

// Requests lists what waits for an answer, of the caller or by the caller.
var Requests = fn.Func{
	Name:    "friend-requests",
	Accepts: event.CallType("friend-requests"),
	Public:  true,
	Memory:  hundred,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		life := set.Duration(settingLife)
		gate, db, err := openRead(ctx, env)
		if err := errors.Join(set.Err(), err); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, requests(db, life, im.Now)), nil
	},
}

// Respond answers who has asked the caller.
var Respond = fn.Func{
	Name:    "friend-respond",
	Accepts: event.CallType("friend-respond"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most, life := set.Int(settingFriends, 1), set.Duration(settingLife)
		gate, box, err := open(ctx, env)
		if err := errors.Join(set.Err(), err); err != nil {
			return fn.Handler{}, err
		}
		r := &responder{most: most, life: life, now: im.Now}
		r.change = func(ctx context.Context, f func(context.Context, responding) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		}
		return fn.CallAs(gate, r.respond), nil
	},
}

// List lists the friends of the caller, or what has changed of them.
var List = fn.Func{
	Name:    "friend-list",
	Accepts: event.CallType("friend-list"),
	Public:  true,
	Memory:  6 << 20, // a page as it is read, and as JSON
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, db, err := openRead(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, list(db)), nil
	},
}

// Update changes what the caller calls a friend.
var Update = fn.Func{
	Name:    "friend-update",
	Accepts: event.CallType("friend-update"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, box, err := open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, update(func(ctx context.Context, f func(context.Context, remarking) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		})), nil
	},
}

// Delete ends a friendship of the caller.
var Delete = fn.Func{
	Name:    "friend-delete",
	Accepts: event.CallType("friend-delete"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, box, err := open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, remove(func(ctx context.Context, f func(context.Context, parting) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		})), nil
	},
}

// Block has the caller block another, or no longer.
var Block = fn.Func{
	Name:    "block-set",
	Accepts: event.CallType("block-set"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, box, err := open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, set(func(ctx context.Context, f func(context.Context, blocking) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		})), nil
	},
}

// Blocks lists whom the caller has blocked.
var Blocks = fn.Func{
	Name:    "block-list",
	Accepts: event.CallType("block-list"),
	Public:  true,
	Memory:  hundred,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, db, err := openRead(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, blocks(db)), nil
	},
}

func open(ctx context.Context, env *proc.Env) (*redis.Gate, *outbox.Outbox, error) {
	gate, gateErr := redis.OpenGate(ctx, env)
	box, boxErr := outbox.Open(ctx, env)
	return gate, box, errors.Join(gateErr, boxErr)
}

func openRead(ctx context.Context, env *proc.Env) (*redis.Gate, *postgres.DB, error) {
	gate, gateErr := redis.OpenGate(ctx, env)
	db, dbErr := postgres.Open(ctx, env)
	return gate, db, errors.Join(gateErr, dbErr)
}
