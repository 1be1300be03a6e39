// Package user is the functions of accounts: user-register, user-login,
// token-refresh, user-logout and user-search.
package user

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

var (
	settingRefreshTTL = proc.Setting{Name: "REFRESH_TTL", Default: "720h", Doc: "how long a refresh token is good; each use gives a new one"}
	settingHashing    = proc.Setting{Name: "PASSWORD_PARALLEL", Default: "2", Doc: "passwords that a process hashes at a time, 19 MiB and a core each; as many for signing in as for registering"}
	settingHashQueue  = proc.Setting{Name: "PASSWORD_QUEUE", Default: "64", Doc: "passwords that wait to be hashed, of either; more are told to come again"}
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
		if err := errors.Join(dbErr, limitErr, hashErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallFrom(register(db, limit, passwords)), nil
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
		tokens, tokenErr := openTokens(env)
		end, endErr := openEnder(ctx, env)
		if err := errors.Join(dbErr, limitErr, hashErr, tokenErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		l := &login{accounts: db, sessions: db, limit: limit, passwords: passwords, tokens: tokens, end: end}
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
		if err := errors.Join(dbErr, tokenErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.Call(refresh(db, tokens, end)), nil
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

// Search finds the user of an account.
var Search = fn.Func{
	Name:    "user-search",
	Accepts: event.CallType("user-search"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, search(db)), nil
	},
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
	return proc.Share(env, "user.hasher "+purpose, func() (*hasher, func() error, error) {
		set := env.Settings()
		parallel, waiting := set.Int(settingHashing, 1), set.Int(settingHashQueue, 0)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		return newHasher(parallel, waiting), nil, nil
	})
}

func openTokens(env *proc.Env) (tokens, error) {
	set := env.Settings()
	ttl := set.Duration(settingRefreshTTL)
	access, err := token.OpenIssuer(env)
	return tokens{access: access, refreshTTL: ttl}, errors.Join(set.Err(), err)
}

func openEnder(ctx context.Context, env *proc.Env) (*ender, error) {
	cache, redisErr := redis.Open(ctx, env)
	seal, sealErr := fn.Keyring(env)
	if err := errors.Join(redisErr, sealErr); err != nil {
		return nil, err
	}
	client := fn.NewHTTPClient(endTimeout)
	env.OnClose(func() error { client.CloseIdleConnections(); return nil })
	return &ender{
		marks:    cache,
		conns:    cache,
		gateways: cache.NewGateways(),
		post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
			return fn.Post(ctx, client, url, events)
		},
		seal: seal,
		log:  env.Log,
	}, nil
}
