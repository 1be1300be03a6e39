// Package bot is the functions of bots: bot-create, bot-list, bot-update,
// bot-delete, bot-token-create, bot-token-list, bot-token-delete, by which
// people keep bots, bot-login, by which a bot signs in, and bot-sweep. What a
// bot may do is said where functions are called: a bot is a user, whose access
// tokens are good for some of them.
package bot

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

var (
	settingBots   = proc.Setting{Name: "MAX_BOTS_PER_USER", Default: "10", Doc: "most bots that a user has"}
	settingTokens = proc.Setting{Name: "MAX_TOKENS_PER_BOT", Default: "10", Doc: "most tokens of a bot that are good at a time"}
)

// Functions of owners.
var (
	// Create makes a bot of the caller.
	Create = owners("bot-create", fn.Fresh(), func(o opened) handler {
		return call((&creator{bots: o.db, limit: o.limit, names: o.names, newcomers: o.newcomers, most: o.bots}).call)
	})
	// List returns the bots of the caller.
	List = owners("bot-list", fn.Proof{}, func(o opened) handler { return call(list(o.db)) })
	// Update changes what a bot of the caller says of itself.
	Update = owners("bot-update", fn.Proof{}, func(o opened) handler { return call(update(o.db)) })
	// CreateToken gives a bot of the caller another token.
	CreateToken = owners("bot-token-create", fn.Fresh(), func(o opened) handler {
		return call((&tokenCreator{tokens: o.db, limit: o.limit, most: o.tokens}).call)
	})
	// Tokens lists the tokens of a bot of the caller.
	Tokens = owners("bot-token-list", fn.Proof{}, func(o opened) handler { return call(listTokens(o.db)) })
)

// Delete deletes a bot of the caller.
var Delete = fn.Func{
	Name:    "bot-delete",
	Accepts: event.CallType("bot-delete"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, gateErr := redis.OpenGate(ctx, env)
		r, err := openRemover(ctx, env)
		if err := errors.Join(gateErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, r.call), nil
	},
}

// DeleteToken ends a token of a bot of the caller.
var DeleteToken = fn.Func{
	Name:    "bot-token-delete",
	Accepts: event.CallType("bot-token-delete"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		end, endErr := user.OpenEnder(ctx, env)
		if err := errors.Join(dbErr, gateErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, deleteToken(db, end)), nil
	},
}

// Login signs a bot in.
var Login = fn.Func{
	Name:    "bot-login",
	Accepts: event.CallType("bot-login"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.BotLogins)
		access, accessErr := token.OpenIssuer(env)
		if err := errors.Join(dbErr, limitErr, accessErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallFrom((&login{bots: db, limit: limit, access: access}).call), nil
	},
}

// Sweep deletes the bots of users who were deleted, and ends tokens that have
// expired.
var Sweep = fn.Func{
	Name:  "bot-sweep",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		r, err := openRemover(ctx, env)
		if err := errors.Join(dbErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.Timed((&sweeper{store: db, remove: r.remove}).sweep), nil
	},
}

// handler is what a function does, behind a gate.
type handler func(fn.Gate) fn.Handler

func call[In, Out any](f func(context.Context, im.Caller, In) (Out, error)) handler {
	return func(gate fn.Gate) fn.Handler { return fn.CallAs(gate, f) }
}

// opened is what the functions of owners need.
type opened struct {
	db           *postgres.DB
	limit        *redis.Limit
	names        user.Names
	newcomers    *redis.Newcomers
	bots, tokens int // the most
}

func owners(name string, proof fn.Proof, of func(opened) handler) fn.Func {
	return fn.Func{
		Name:    name,
		Accepts: event.CallType(name),
		Public:  true,
		Proof:   proof,
		New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
			set := env.Settings()
			o := opened{bots: set.Int(settingBots, 0), tokens: set.Int(settingTokens, 1)}
			var dbErr, limitErr error
			o.db, dbErr = postgres.Open(ctx, env)
			o.limit, limitErr = redis.OpenLimit(ctx, env, redis.BotSecrets)
			var namesErr, newErr error
			o.names, namesErr = user.OpenNames(env)
			o.newcomers, newErr = redis.OpenNewcomers(ctx, env)
			gate, gateErr := redis.OpenGate(ctx, env)
			if err := errors.Join(set.Err(), dbErr, limitErr, namesErr, newErr, gateErr); err != nil {
				return fn.Handler{}, err
			}
			return of(o)(gate), nil
		},
	}
}

func openRemover(ctx context.Context, env *proc.Env) (*remover, error) {
	box, boxErr := outbox.Open(ctx, env)
	end, endErr := user.OpenEnder(ctx, env)
	if err := errors.Join(boxErr, endErr); err != nil {
		return nil, err
	}
	change := func(ctx context.Context, f func(context.Context, leaver) error) error {
		return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
	}
	return &remover{change: change, end: end}, nil
}
