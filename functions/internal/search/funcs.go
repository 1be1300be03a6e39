// Package search is the functions that find messages: message-search, which
// finds them in the conversations of its caller, and search-index, which notes
// of older messages where it need not look. It does not know how a text
// is compared with a query: package words does.
package search

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Search finds messages in the conversations of the caller.
var Search = fn.Func{
	Name:    "message-search",
	Accepts: event.CallType("message-search"),
	Public:  true,
	Memory:  14 << 20, // a read, the matches of a window, and a page as JSON
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.MessageSearches)
		if err := errors.Join(dbErr, gateErr, limitErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, search(db, limit)), nil
	},
}

// Index keeps the index of searches up to date.
var Index = fn.Func{
	Name:  "search-index",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, err := postgres.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.Timed(index(db)), nil
	},
}
