// Package group is the functions of groups: group-create, group-list,
// group-get, group-update, group-dissolve, group-members, group-invite,
// group-remove, group-leave, group-role, group-mute, group-join-request,
// group-join-requests and group-join-respond. Who may do what is im.Rights.
package group

import (
	"context"
	"errors"

	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var settingGroups = proc.Setting{Name: "MAX_GROUPS_PER_USER", Default: "1000", Doc: "most groups that a user is in, their own among them; who is added to several at once may be in a few more"}

// Functions that change groups.
var (
	// Create makes a group of the caller and others.
	Create = changes("group-create", func(change changer, i invites) handler {
		return call((&creator{change, i, im.Now}).call)
	})
	// Update changes the name of a group, what is said about it and its policy.
	Update = changes("group-update", func(change changer, _ invites) handler { return call(update(change)) })
	// Dissolve ends a group.
	Dissolve = changes("group-dissolve", func(change changer, _ invites) handler { return call(dissolve(change)) })
	// Invite adds users to a group.
	Invite = changes("group-invite", func(change changer, i invites) handler {
		return call((&inviter{change, i, im.Now}).call)
	})
	// Remove takes users out of a group.
	Remove = changes("group-remove", func(change changer, _ invites) handler { return call(remove(change)) })
	// Leave takes the caller out of a group.
	Leave = changes("group-leave", func(change changer, _ invites) handler { return call(leave(change)) })
	// Role says what a member is in a group.
	Role = changes("group-role", func(change changer, _ invites) handler { return call(role(change)) })
	// Mute keeps a member of a group, or all, from speaking.
	Mute = changes("group-mute", func(change changer, _ invites) handler {
		return call((&muter{change, im.Now}).call)
	})
	// JoinRequest lets the caller into a group, or asks who may.
	JoinRequest = changes("group-join-request", func(change changer, i invites) handler {
		return call((&joiner{change, i, im.Now}).ask)
	})
	// JoinRespond answers who asks to join a group.
	JoinRespond = changes("group-join-respond", func(change changer, i invites) handler {
		return call((&joiner{change, i, im.Now}).respond)
	})
)

// Functions that read groups.
var (
	// List returns the groups of the caller.
	List = reads("group-list", func(db *postgres.DB) handler { return call(list(db)) })
	// Get returns a group.
	Get = reads("group-get", func(db *postgres.DB) handler { return call(get(db)) })
	// Members returns who is in a group.
	Members = reads("group-members", func(db *postgres.DB) handler { return call(members(db)) })
	// JoinRequests returns who asks to join a group.
	JoinRequests = reads("group-join-requests", func(db *postgres.DB) handler { return call(requests(db)) })
)

// handler is what a function does, behind a gate.
type handler func(fn.Gate) fn.Handler

func call[In, Out any](f func(context.Context, im.Caller, In) (Out, error)) handler {
	return func(gate fn.Gate) fn.Handler { return fn.CallAs(gate, f) }
}

func reads(name string, of func(*postgres.DB) handler) fn.Func {
	return fn.Func{
		Name:    name,
		Accepts: event.CallType(name),
		Public:  true,
		New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
			db, dbErr := postgres.Open(ctx, env)
			gate, gateErr := redis.OpenGate(ctx, env)
			if err := errors.Join(dbErr, gateErr); err != nil {
				return fn.Handler{}, err
			}
			return of(db)(gate), nil
		},
	}
}

func changes(name string, of func(changer, invites) handler) fn.Func {
	return fn.Func{
		Name:    name,
		Accepts: event.CallType(name),
		Public:  true,
		New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
			set := env.Settings()
			most, policy := set.Int(settingGroups, 1), direct.Policy(set)
			db, dbErr := postgres.Open(ctx, env)
			box, boxErr := outbox.Open(ctx, env)
			gate, gateErr := redis.OpenGate(ctx, env)
			limit, limitErr := redis.OpenLimit(ctx, env, redis.Strangers)
			newcomers, newErr := redis.OpenNewcomers(ctx, env)
			if err := errors.Join(set.Err(), dbErr, boxErr, gateErr, limitErr, newErr); err != nil {
				return fn.Handler{}, err
			}
			change := func(ctx context.Context, f func(context.Context, tx) error) error {
				return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
			}
			return of(change, invites{db, policy, most, limit, newcomers})(gate), nil
		},
	}
}
