// Package message is the functions that change what was said: message-recall,
// message-edit, message-react, and message-delete, which changes it for the
// caller alone. It does not write to inboxes: the notices carry what these are to
// hold.
package message

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingRecall = proc.Setting{Name: "RECALL_WINDOW", Default: "2m", Doc: "how old a message may be, by the clock of message-recall, that its sender recalls"}
	settingEdit   = proc.Setting{Name: "EDIT_WINDOW", Default: "24h", Doc: "how old a message may be, by the clock of message-edit, that its sender edits"}
)

// Recall empties a message, for everybody.
var Recall = fn.Func{
	Name:    "message-recall",
	Accepts: event.CallType("message-recall"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		window := set.Duration(settingRecall)
		gate, change, err := open(ctx, env)
		if err := errors.Join(set.Err(), err); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, recall(change, window)), nil
	},
}

// Edit gives a message of the caller's another text.
var Edit = fn.Func{
	Name:    "message-edit",
	Accepts: event.CallType("message-edit"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		policy, window := direct.Policy(set), set.Duration(settingEdit)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.Reactions)
		gate, change, err := open(ctx, env)
		if err := errors.Join(set.Err(), limitErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, limited(limit, edit(change, policy, window))), nil
	},
}

// React puts an emoji of the caller on a message, or takes it off.
var React = fn.Func{
	Name:    "message-react",
	Accepts: event.CallType("message-react"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		policy := direct.Policy(set)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.Reactions)
		gate, change, err := open(ctx, env)
		if err := errors.Join(set.Err(), limitErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, limited(limit, react(change, policy))), nil
	},
}

// Delete deletes messages for the caller alone.
var Delete = fn.Func{
	Name:    "message-delete",
	Accepts: event.CallType("message-delete"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, change, err := open(ctx, env)
		store, storeErr := inbox.Open(ctx, env)
		if err := errors.Join(err, storeErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, (&remover{change, store}).call), nil
	},
}

func open(ctx context.Context, env *proc.Env) (*redis.Gate, changer, error) {
	gate, gateErr := redis.OpenGate(ctx, env)
	box, boxErr := outbox.Open(ctx, env)
	db, dbErr := postgres.Open(ctx, env)
	old, oldErr := archive.Open(ctx, env)
	change := func(ctx context.Context, f func(context.Context, archivedTx) error) error {
		return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
	}
	return gate, withArchive(change, db, old), errors.Join(gateErr, boxErr, dbErr, oldErr)
}
