// Package group is the functions of groups: group-create.
package group

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Create makes a group of the caller and others.
var Create = fn.Func{
	Name:    "group-create",
	Accepts: event.CallType("group-create"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, create(db)), nil
	},
}
