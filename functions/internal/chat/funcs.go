// Package chat is the functions that take messages in: chat-ingest those that
// come by sockets, message-send those of who has none.
package chat

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Ingest gives each message that a client sent its place in its conversation
// and writes it to the log of messages, from where it is the system's.
var Ingest = fn.Func{
	Name:    "chat-ingest",
	Accepts: event.MessageSubmitted,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		in, err := open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.Answer(in.batch), nil
	},
}

// Send does the same for a message that is sent by a call.
var Send = fn.Func{
	Name:    "message-send",
	Accepts: event.CallType("message-send"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		in, err := open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(err, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, in.send), nil
	},
}

// open returns the process's way in, which is one, so that what comes by
// sockets and by calls takes turns.
func open(ctx context.Context, env *proc.Env) (*ingest, error) {
	set := env.Settings()
	policy := direct.Policy(set)
	db, dbErr := postgres.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	log, kafkaErr := kafka.Open(ctx, env)
	seal, sealErr := fn.Keyring(env)
	newcomers, newErr := redis.OpenNewcomers(ctx, env)
	if err := errors.Join(set.Err(), dbErr, redisErr, kafkaErr, sealErr, newErr); err != nil {
		return nil, err
	}
	in := &ingest{
		guard:  guard{relations: cache.NewRelations(db), members: cache.NewMembers(db), newcomers: newcomers, policy: policy},
		files:  db,
		budget: cache,
		places: cache,
		log:    log,
		seal:   seal,
		window: cache.PlaceWindow(),
		now:    im.Now,
	}
	return proc.Share(env, "chat", func() (*ingest, func() error, error) { return in, nil, nil })
}
