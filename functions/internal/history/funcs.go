// Package history is the functions of what was said: persist-history keeps
// each accepted message in its conversation, message-history hands it to the
// members. It does not know of inboxes.
package history

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Persist adds each accepted message to the history of its conversation.
var Persist = fn.Func{
	Name:    "persist-history",
	Accepts: event.MessageAccepted,
	Topic:   event.TopicMessages,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, err := postgres.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.On(persist(db)), nil
	},
}

// Read hands the history of a conversation to its members, a page at a time.
var Read = fn.Func{
	Name:    "message-history",
	Accepts: event.CallType("message-history"),
	Public:  true,
	Memory:  8 << 20, // a page as messages, what of another is read with it, and both as JSON
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		old, oldErr := archive.Open(ctx, env)
		if err := errors.Join(dbErr, gateErr, oldErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, read(db, old, db)), nil
	},
}
