// Package conversation is the functions of a user's list of conversations:
// conversation-list shows it, conversation-update pins, mutes and hides,
// message-read notes up to where they have read. It does not know how messages
// come into inboxes, from which the list is read.
package conversation

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var settingReceipts = proc.Setting{Name: "RECEIPT_MEMBERS", Default: "50", Doc: "members of the largest group in which all are told who has read up to where; 0 is none"}

// List shows the caller's conversations.
var List = fn.Func{
	Name:    "conversation-list",
	Accepts: event.CallType("conversation-list"),
	Public:  true,
	Memory:  12 << 20, // the newest message of each conversation of a page, and a page as JSON
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(storeErr, dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, list(store, db)), nil
	},
}

// Update pins, mutes and hides a conversation.
var Update = fn.Func{
	Name:    "conversation-update",
	Accepts: event.CallType("conversation-update"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		box, boxErr := outbox.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(storeErr, dbErr, redisErr, boxErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, update(changes(box), store, cache.NewMembers(db))), nil
	},
}

// Read notes up to which message the caller has read a conversation.
var Read = fn.Func{
	Name:    "message-read",
	Accepts: event.CallType("message-read"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		store, storeErr := inbox.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		box, boxErr := outbox.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		set := env.Settings()
		most := set.Int(settingReceipts, 0)
		if err := errors.Join(storeErr, dbErr, redisErr, boxErr, gateErr, set.Err()); err != nil {
			return fn.Handler{}, err
		}
		m := &marker{change: changes(box), inbox: store, relations: db, members: cache.NewMembers(db), most: most}
		return fn.CallAs(gate, m.read), nil
	},
}

// changes makes changes by an outbox.
func changes(box *outbox.Outbox) changer {
	return func(ctx context.Context, f func(context.Context, tx) error) error {
		return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
	}
}
