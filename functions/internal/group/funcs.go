// Package group is the functions of groups: group-create, group-list,
// group-get, group-update, group-dissolve, group-members, group-invite,
// group-remove, group-leave, group-role, group-mute, group-ban, group-bans,
// group-unban, group-join-request, group-join-requests and group-join-respond. Who may do what is im.Rights.
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
	Remove = changes("group-remove", func(change changer, _ invites) handler { return call(remove(change, im.Now)) })
	// Leave takes the caller out of a group.
	Leave = changes("group-leave", func(change changer, _ invites) handler { return call(leave(change, im.Now)) })
	// Role says what a member is in a group.
	Role = asking(fn.FreshTo("role", string(im.RoleOwner)), changes("group-role", func(change changer, _ invites) handler { return call(role(change)) })) // whom a group was handed to keeps it
	// Mute keeps a member of a group, or all, from speaking.
	Mute = changes("group-mute", func(change changer, _ invites) handler {
		return call((&muter{change, im.Now}).call)
	})
	// Ban keeps a user out of a group.
	Ban = changes("group-ban", func(change changer, _ invites) handler {
		return call((&banner{change, im.Now}).ban)
	})
	// Unban lifts that.
	Unban = changes("group-unban", func(change changer, _ invites) handler { return call(unban(change)) })
	// JoinRequest lets the caller into a group, or asks who may.
	JoinRequest = changes("group-join-request", func(change changer, i invites) handler {
		return call((&joiner{change, i, im.Now}).ask)
	})
	// JoinRespond answers who asks to join a group.
	JoinRespond = changes("group-join-respond", func(change changer, i invites) handler {
		return call((&joiner{change, i, im.Now}).respond)
	})
)

// hundred is what a page of a hundred groups or users takes, each with texts as
// long as they may be, as it is read and as JSON.
const hundred = 2 << 20

// Functions that read groups.
var (
	// List returns the groups of the caller.
	List = heavy(hundred, reads("group-list", func(db *postgres.DB) handler { return call(list(db)) }))
	// Get returns a group.
	Get = reads("group-get", func(db *postgres.DB) handler { return call(get(db)) })
	// Members returns who is in a group.
	Members = heavy(6<<20, reads("group-members", func(db *postgres.DB) handler { return call(members(db)) })) // a page as it is read, and as JSON
	// Bans returns who is banned from a group.
	Bans = heavy(hundred, reads("group-bans", func(db *postgres.DB) handler { return call(bans(db)) }))
	// JoinRequests returns who asks to join a group.
	JoinRequests = heavy(hundred, reads("group-join-requests", func(db *postgres.DB) handler { return call(requests(db)) }))
)

// handler is what a function does, behind a gate and, if it is not nil, a limit
// to how often each user does it.
type handler func(fn.Gate, counter) fn.Handler

type counter interface {
	// Allow counts that a user does it once more. Overloaded: that is too often.
	Allow(ctx context.Context, user string) error
}

func call[In, Out any](f func(context.Context, im.Caller, In) (Out, error)) handler {
	return func(gate fn.Gate, often counter) fn.Handler {
		return fn.CallAs(gate, func(ctx context.Context, c im.Caller, in In) (out Out, err error) {
			if often != nil {
				if err := often.Allow(ctx, c.User); err != nil {
					return out, err
				}
			}
			return f(ctx, c, in)
		})
	}
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
			return of(db)(gate, nil), nil
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
			often, oftenErr := redis.OpenLimit(ctx, env, oftenOf(name))
			if err := errors.Join(set.Err(), dbErr, boxErr, gateErr, limitErr, newErr, oftenErr); err != nil {
				return fn.Handler{}, err
			}
			change := func(ctx context.Context, f func(context.Context, tx) error) error {
				return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
			}
			return of(change, invites{db, policy, most, limit, newcomers})(gate, often), nil
		},
	}
}

// oftenOf returns what limits how often a user changes groups by a function.
// What one does to one's own membership is counted by itself, so that nobody
// stays in a group for having changed others.
func oftenOf(function string) redis.Limited {
	switch function {
	case "group-join-request", "group-leave":
		return redis.GroupJoins
	}
	return redis.GroupChanges
}

// heavy returns a function of which a call holds so many bytes.
func heavy(bytes int64, f fn.Func) fn.Func {
	f.Memory = bytes
	return f
}

// asking returns a function that asks its callers for a proof.
func asking(p fn.Proof, f fn.Func) fn.Func {
	f.Proof = p
	return f
}
