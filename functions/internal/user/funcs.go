// Package user is the functions of accounts and sessions: who registers, signs
// in and out, looks at users, changes or deletes themselves. It does not know
// of friends, groups or messages, but that a user who is deleted leaves them.
package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/vault"
)

var (
	settingGrace      = proc.Setting{Name: "REFRESH_GRACE", Default: "30s", Doc: "how long after its first use a refresh token may be used again, in case the answer was lost, while what it was exchanged for was not used; 0 ends the session at once"}
	settingSessions   = proc.Setting{Name: "MAX_SESSIONS_PER_USER", Default: "50", Doc: "devices on which a user is signed in at most; one more signs out the one that was used least recently"}
	settingRefreshTTL = proc.Setting{Name: "REFRESH_TTL", Default: "720h", Doc: "how long a refresh token is good; each use gives a new one"}
	settingProof      = proc.Setting{Name: "DEVICE_PROOF_TTL", Default: "4320h", Doc: "how long a device that has signed in is known again by the proof that it was given, so that what strangers try does not keep it out"}
	settingAvatars    = proc.Setting{Name: "AVATAR_HOSTS", Doc: "hosts, with their ports if these are not 443, of which users may name a picture as their avatar, separated by commas: each learns who looks at it; unset, avatars are pictures that were uploaded"}
	settingHashing    = proc.Setting{Name: "PASSWORD_PARALLEL", Default: "2", Doc: "passwords that a process hashes at a time, 19 MiB and a core each, and no more than fit in its memory; as many for signing in as for registering"}
	settingHashQueue  = proc.Setting{Name: "PASSWORD_QUEUE", Default: "64", Doc: "passwords that wait to be hashed, of either, half of them of one network at most; more are told to come again"}
)

// endTimeout bounds telling one gateway that a session has ended.
const endTimeout = 2 * time.Second

// Register adds a user.
var Register = fn.Func{
	Name:    "user-register",
	Accepts: event.CallType("user-register"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		limit, limitErr := openSignIns(ctx, env)
		passwords, hashErr := openHasher(env, "registering")
		names, namesErr := OpenNames(env)
		newcomers, newErr := redis.OpenNewcomers(ctx, env)
		if err := errors.Join(dbErr, limitErr, hashErr, namesErr, newErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallFrom(register(db, limit, passwords, names, newcomers)), nil
	},
}

// Login signs a device in.
var Login = fn.Func{
	Name:    "user-login",
	Accepts: event.CallType("user-login"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		limit, limitErr := openSignIns(ctx, env)
		passwords, hashErr := openHasher(env, "signing in")
		second, secondErr := OpenSecondFactor(ctx, env)
		begin, beginErr := OpenBeginner(ctx, env)
		if err := errors.Join(dbErr, limitErr, hashErr, secondErr, beginErr); err != nil {
			return fn.Handler{}, err
		}
		l := &login{accounts: db, limit: limit, passwords: passwords, second: second, Beginner: *begin}
		return fn.CallFrom(l.call), nil
	},
}

// Refresh gives the next pair of tokens of a session.
var Refresh = fn.Func{
	Name:    "token-refresh",
	Accepts: event.CallType("token-refresh"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		tokens, tokenErr := openTokens(env)
		end, endErr := openEnder(ctx, env)
		limit, limitErr := redis.OpenRefreshes(ctx, env)
		if err := errors.Join(dbErr, tokenErr, endErr, limitErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallFrom(refresh(db, limit, tokens, end)), nil
	},
}

// Logout ends the session of the caller.
var Logout = fn.Func{
	Name:    "user-logout",
	Accepts: event.CallType("user-logout"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		end, endErr := openEnder(ctx, env)
		if err := errors.Join(dbErr, gateErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, logout(db, end)), nil
	},
}

// Get returns a user.
var Get = fn.Func{
	Name:    "user-get",
	Accepts: event.CallType("user-get"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, get(db)), nil
	},
}

// Update changes what the caller says of themselves.
var Update = fn.Func{
	Name:    "user-update",
	Accepts: event.CallType("user-update"),
	Public:  true,
	Proof:   fn.FreshWith("email"), // by which a password can be reset
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		set := env.Settings()
		hosts := set.List(settingAvatars)
		if err := errors.Join(dbErr, gateErr, set.Err()); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, update(db, hosts)), nil
	},
}

// Search finds users by what the caller knows of them.
var Search = fn.Func{
	Name:    "user-search",
	Accepts: event.CallType("user-search"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.Searches)
		if err := errors.Join(dbErr, gateErr, limitErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, search(db, limit)), nil
	},
}

// ChangePassword gives the caller another password.
var ChangePassword = fn.Func{
	Name:    "password-change",
	Accepts: event.CallType("password-change"),
	Public:  true,
	Proof:   fn.AskedInside(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := OpenProver(ctx, env)
		tokens, tokenErr := openTokens(env)
		end, endErr := openEnder(ctx, env)
		if err := errors.Join(dbErr, gateErr, whoErr, tokenErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, changePassword(db, who, tokens, end)), nil
	},
}

// ProveAgain has a caller prove again who they are, for what asks for it.
var ProveAgain = fn.Func{
	Name:    "session-prove",
	Accepts: event.CallType("session-prove"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := OpenProver(ctx, env)
		second, secondErr := OpenSecondFactor(ctx, env)
		renew, renewErr := OpenRenewer(ctx, env)
		if err := errors.Join(gateErr, whoErr, secondErr, renewErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, proveAgain(who, second, renew)), nil
	},
}

// Sessions lists where the caller is signed in.
var Sessions = fn.Func{
	Name:    "session-list",
	Accepts: event.CallType("session-list"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, sessions(db)), nil
	},
}

// Revoke ends a session of the caller.
var Revoke = fn.Func{
	Name:    "session-revoke",
	Accepts: event.CallType("session-revoke"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		end, endErr := openEnder(ctx, env)
		if err := errors.Join(dbErr, gateErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, revoke(db, end)), nil
	},
}

// Delete deletes the caller.
var Delete = fn.Func{
	Name:    "user-delete",
	Accepts: event.CallType("user-delete"),
	Public:  true,
	Proof:   fn.AskedInside(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := OpenProver(ctx, env)
		box, boxErr := outbox.Open(ctx, env)
		end, endErr := openEnder(ctx, env)
		erase, eraseErr := openEraser(ctx, env)
		second, secondErr := OpenSecondFactor(ctx, env)
		if err := errors.Join(gateErr, whoErr, boxErr, endErr, eraseErr, secondErr); err != nil {
			return fn.Handler{}, err
		}
		change := func(ctx context.Context, f func(context.Context, leaver) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		}
		r := &remover{who: who, second: second, change: change, end: end, erase: erase}
		return fn.CallAs(gate, r.call), nil
	},
}

// Sweep does what the others have left, and removes what is of no use any more.
var Sweep = fn.Func{
	Name:  "session-sweep",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		end, endErr := openEnder(ctx, env)
		erase, eraseErr := openEraser(ctx, env)
		if err := errors.Join(dbErr, endErr, eraseErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.Timed((&sweeper{store: db, end: end, erase: erase}).sweep), nil
	},
}

// OpenBeginner returns what begins sessions.
func OpenBeginner(ctx context.Context, env *proc.Env) (*Beginner, error) {
	db, dbErr := postgres.Open(ctx, env)
	tokens, tokenErr := openTokens(env)
	end, endErr := openEnder(ctx, env)
	set := env.Settings()
	most, ttl := set.Int(settingSessions, 1), set.Duration(settingProof)
	v, vaultErr := vault.Open(env)
	if err := errors.Join(dbErr, tokenErr, endErr, vaultErr, set.Err()); err != nil {
		return nil, err
	}
	return &Beginner{sessions: db, tokens: tokens, proofs: proofs{v, ttl}, most: most, end: end}, nil
}

// OpenSecondFactor returns what asks for second factors.
func OpenSecondFactor(ctx context.Context, env *proc.Env) (*SecondFactor, error) {
	db, dbErr := postgres.Open(ctx, env)
	limit, limitErr := redis.OpenLimit(ctx, env, redis.SecondFactors)
	v, vaultErr := vault.Open(env)
	if err := errors.Join(dbErr, limitErr, vaultErr); err != nil {
		return nil, err
	}
	return &SecondFactor{store: db, limit: limit, vault: v, log: env.Log}, nil
}

// OpenProver returns what has callers prove again who they are.
func OpenProver(ctx context.Context, env *proc.Env) (*Prover, error) {
	db, dbErr := postgres.Open(ctx, env)
	limit, limitErr := openSignIns(ctx, env)
	passwords, hashErr := openHasher(env, "signing in")
	fresh, freshErr := fn.FreshFor(env)
	if err := errors.Join(dbErr, limitErr, hashErr, freshErr); err != nil {
		return nil, err
	}
	return &Prover{users: db, limit: limit, passwords: passwords, fresh: fresh}, nil
}

// OpenRenewer returns what gives access tokens to callers who have proved again
// who they are.
func OpenRenewer(ctx context.Context, env *proc.Env) (*Renewer, error) {
	db, dbErr := postgres.Open(ctx, env)
	access, accessErr := token.OpenIssuer(env)
	if err := errors.Join(dbErr, accessErr); err != nil {
		return nil, err
	}
	return &Renewer{sessions: db, access: access}, nil
}

// OpenPasswords returns what hashes passwords for a purpose.
func OpenPasswords(env *proc.Env, purpose string) (Passwords, error) {
	h, err := openHasher(env, purpose)
	return Passwords{h}, err
}

// OpenEnder returns what tells of sessions that have ended.
func OpenEnder(ctx context.Context, env *proc.Env) (Ender, error) {
	e, err := openEnder(ctx, env)
	return Ender{e}, err
}

func openEraser(ctx context.Context, env *proc.Env) (*eraser, error) {
	db, dbErr := postgres.Open(ctx, env)
	inboxes, inboxErr := inbox.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	if err := errors.Join(dbErr, inboxErr, redisErr); err != nil {
		return nil, err
	}
	return &eraser{inbox: inboxes, hints: cache, notes: db}, nil
}

func openSignIns(ctx context.Context, env *proc.Env) (*redis.SignIns, error) {
	cache, err := redis.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return cache.NewSignIns(env)
}

// openHasher returns the process's hasher of passwords for a purpose. Each has
// a queue of its own, so that many who register keep nobody from signing in.
func openHasher(env *proc.Env, purpose string) (*hasher, error) {
	memory, err := env.Budgets()
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "user.hasher "+purpose, func() (*hasher, func() error, error) {
		set := env.Settings()
		parallel, waiting := set.Int(settingHashing, 1), set.Int(settingHashQueue, 0)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		fit := memory.Reserve(parallel, current.bytes())
		if fit == 0 {
			return nil, nil, fmt.Errorf("hashing a password for %s takes %d MiB, which the process has not left: give it more memory", purpose, current.bytes()>>20)
		}
		if fit < parallel {
			env.Log.Warn("hashing fewer passwords at a time than "+settingHashing.Name+" says: more do not fit in the memory of the process", "parallel", fit)
		}
		h := newHasher(fit, waiting)
		h.work = memory.Work
		return h, nil, nil
	})
}

func openTokens(env *proc.Env) (tokens, error) {
	set := env.Settings()
	ttl := set.Duration(settingRefreshTTL)
	var grace time.Duration
	if set.String(settingGrace) != "0" {
		grace = set.Duration(settingGrace)
	}
	access, err := token.OpenIssuer(env)
	return tokens{access: access, refreshTTL: ttl, grace: grace}, errors.Join(set.Err(), err)
}

func openEnder(ctx context.Context, env *proc.Env) (*ender, error) {
	db, dbErr := postgres.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	seal, sealErr := fn.Keyring(env)
	records, auditErr := audit.Open(ctx, env, true)
	if err := errors.Join(dbErr, redisErr, sealErr, auditErr); err != nil {
		return nil, err
	}
	poster, err := fn.OpenPoster(env, endTimeout)
	if err != nil {
		return nil, err
	}
	env.OnClose(poster.Close)
	return &ender{
		marks:    cache,
		told:     db,
		conns:    cache,
		gateways: cache.NewGateways(env),
		post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
			return poster.Deliver(ctx, "gateway", url, events)
		},
		seal:  seal,
		log:   env.Log,
		audit: records,
	}, nil
}
