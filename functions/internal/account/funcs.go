// Package account is the functions of what a user is known by beyond a
// password: an e-mail address that is proved to be theirs, accounts elsewhere,
// a second factor. It stands on the area user, which signs in.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/functions/internal/user"
	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/mail"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/vault"
)

var (
	settingService   = proc.Setting{Name: "SERVICE_NAME", Default: "Tidings", Doc: "what mails and authenticators call this service"}
	settingProviders = proc.Setting{Name: "OAUTH_PROVIDERS", Secret: true, Doc: "accounts elsewhere by which users sign in, as a list in JSON: docs/accounts.md; unset, none"}
	settingRedirects = proc.Setting{Name: "OAUTH_REDIRECTS", Doc: "URLs of clients to which users may come back from signing in elsewhere, separated by commas, with {provider} where its name stands; the first is the default"}
)

// wakeTime is how long mail-send may take to answer who wakes it, its platform's
// starting it included. Nobody waits for it but who wakes it next.
const wakeTime = 30 * time.Second

// VerifyEmail mails a code to the address of the caller.
var VerifyEmail = fn.Func{
	Name:    "email-verify",
	Accepts: event.CallType("email-verify"),
	Public:  true,
	Proof:   fn.AskedInside(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := user.OpenProver(ctx, env)
		limit, limitErr := redis.OpenMailLimit(ctx, env)
		send, sendErr := openWake(env)
		if err := errors.Join(dbErr, gateErr, whoErr, limitErr, sendErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, verify(db, who, limit, send)), nil
	},
}

// ConfirmEmail takes the code.
var ConfirmEmail = fn.Func{
	Name:    "email-confirm",
	Accepts: event.CallType("email-confirm"),
	Public:  true,
	Proof:   fn.Fresh(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		v, vaultErr := vault.Open(env)
		if err := errors.Join(dbErr, gateErr, vaultErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, confirm(db, v)), nil
	},
}

// ForgotPassword mails a code to whoever has an address.
var ForgotPassword = fn.Func{
	Name:    "password-forgot",
	Accepts: event.CallType("password-forgot"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		from, fromErr := openAttempts(ctx, env)
		limit, limitErr := redis.OpenMailLimit(ctx, env)
		send, sendErr := openWake(env)
		v, vaultErr := vault.Open(env)
		if err := errors.Join(dbErr, fromErr, limitErr, sendErr, vaultErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallFrom(forgot(db, from, limit, handles{v}, send)), nil
	},
}

// ResetPassword takes the code.
var ResetPassword = fn.Func{
	Name:    "password-reset",
	Accepts: event.CallType("password-reset"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		limit, limitErr := openAttempts(ctx, env)
		passwords, hashErr := user.OpenPasswords(env, "resetting")
		v, vaultErr := vault.Open(env)
		end, endErr := user.OpenEnder(ctx, env)
		if err := errors.Join(dbErr, limitErr, hashErr, vaultErr, endErr); err != nil {
			return fn.Handler{}, err
		}
		r := &reseter{users: db, from: limit, passwords: passwords, vault: v, handles: handles{v}, end: end}
		return fn.CallFrom(r.call), nil
	},
}

// SendMails sends the mails that were asked for.
var SendMails = fn.Func{
	Name:  "mail-send",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		v, vaultErr := vault.Open(env)
		set := env.Settings()
		s := &sender{store: db, vault: v, service: set.String(settingService), log: env.Log}
		s.sent, s.waiting = newMailMetrics()
		if err := errors.Join(dbErr, vaultErr, set.Err(), env.Metrics.Register(s.sent), env.Metrics.Register(s.waiting)); err != nil {
			return fn.Handler{}, err
		}
		switch by, err := mail.Open(env); {
		case err == nil:
			s.smtp = by
		case !errors.Is(err, mail.ErrOff):
			return fn.Handler{}, err
		}
		return fn.Timed(s.send), nil
	},
}

// StartOAuth begins to sign in by an account elsewhere.
var StartOAuth = fn.Func{
	Name:    "oauth-start",
	Accepts: event.CallType("oauth-start"),
	Public:  true,
	Proof:   fn.AskedInside(), // to link
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		gate, gateErr := redis.OpenGate(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		limit, limitErr := openAttempts(ctx, env)
		who, whoErr := user.OpenProver(ctx, env)
		providers, providersErr := openProviders(env)
		set := env.Settings()
		redirects, redirectsErr := parseRedirects(set.List(settingRedirects))
		if redirectsErr != nil {
			redirectsErr = fmt.Errorf("setting %s: %w", settingRedirects.Name, redirectsErr)
		}
		if err := errors.Join(gateErr, redisErr, limitErr, whoErr, providersErr, redirectsErr, set.Err()); err != nil {
			return fn.Handler{}, err
		}
		s := &starter{providers: providers, redirects: redirects, flows: cache.NewFlows(), limit: limit, who: who}
		return fn.CallMaybe(gate, s.call), nil
	},
}

// EndOAuth ends it.
var EndOAuth = fn.Func{
	Name:    "oauth-callback",
	Accepts: event.CallType("oauth-callback"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		limit, limitErr := openAttempts(ctx, env)
		second, secondErr := user.OpenSecondFactor(ctx, env)
		begin, beginErr := user.OpenBeginner(ctx, env)
		names, namesErr := user.OpenNames(env)
		newcomers, newErr := redis.OpenNewcomers(ctx, env)
		providers, providersErr := openProviders(env)
		records, auditErr := audit.Open(ctx, env, true)
		if err := errors.Join(dbErr, gateErr, redisErr, limitErr, secondErr, beginErr, namesErr, newErr, providersErr, auditErr); err != nil {
			return fn.Handler{}, err
		}
		b := &callback{providers: providers, flows: cache.NewFlows(), limit: limit, users: db, names: names, newcomers: newcomers, second: second, begin: begin, audit: records}
		return fn.CallMaybe(gate, b.call), nil
	},
}

// Identities lists the accounts elsewhere by which the caller signs in.
var Identities = fn.Func{
	Name:    "identity-list",
	Accepts: event.CallType("identity-list"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, list(db)), nil
	},
}

// DeleteIdentity removes one.
var DeleteIdentity = fn.Func{
	Name:    "identity-delete",
	Accepts: event.CallType("identity-delete"),
	Public:  true,
	Proof:   fn.Fresh(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, unlink(db)), nil
	},
}

// SetUpTOTP gives the caller a second factor.
var SetUpTOTP = fn.Func{
	Name:    "totp-setup",
	Accepts: event.CallType("totp-setup"),
	Public:  true,
	Proof:   fn.AskedInside(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := user.OpenProver(ctx, env)
		v, vaultErr := vault.Open(env)
		set := env.Settings()
		service := set.String(settingService)
		if err := errors.Join(dbErr, gateErr, whoErr, vaultErr, set.Err()); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, setup(db, db, who, v, service)), nil
	},
}

// ConfirmTOTP has it asked for from then on.
var ConfirmTOTP = fn.Func{
	Name:    "totp-confirm",
	Accepts: event.CallType("totp-confirm"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.SecondFactors)
		v, vaultErr := vault.Open(env)
		if err := errors.Join(dbErr, gateErr, limitErr, vaultErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, confirmFactor(db, limit, v)), nil
	},
}

// DeleteTOTP takes it away.
var DeleteTOTP = fn.Func{
	Name:    "totp-delete",
	Accepts: event.CallType("totp-delete"),
	Public:  true,
	Proof:   fn.AskedInside(),
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		who, whoErr := user.OpenProver(ctx, env)
		second, secondErr := user.OpenSecondFactor(ctx, env)
		if err := errors.Join(dbErr, gateErr, whoErr, secondErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, removeFactor(db, who, second)), nil
	},
}

// openAttempts returns the limit of what anybody may try from an address.
func openAttempts(ctx context.Context, env *proc.Env) (*redis.SignIns, error) {
	cache, err := redis.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	return cache.NewSignIns(env)
}

// openProviders returns the process's providers.
func openProviders(env *proc.Env) (map[string]provider, error) {
	return proc.Share(env, "account.providers", func() (map[string]provider, func() error, error) {
		set := env.Settings()
		list := set.String(settingProviders)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		env.Uses(proc.Outside)
		client := newProviderClient()
		providers, err := parseProviders(list, client)
		if err != nil {
			return nil, nil, fmt.Errorf("setting %s: %w", settingProviders.Name, err)
		}
		return providers, func() error { client.CloseIdleConnections(); return nil }, nil
	})
}

// openWake returns the process's wake of mail-send.
func openWake(env *proc.Env) (wake, error) {
	urls, urlErr := fn.OpenURLs(env)
	poster, posterErr := fn.OpenPoster(env, wakeTime)
	if err := errors.Join(urlErr, posterErr); err != nil {
		return nil, err
	}
	return proc.Share(env, "account.wake", func() (wake, func() error, error) {
		tick := func(ctx context.Context) error {
			return poster.Tick(ctx, SendMails.Name, urls.Of(SendMails.Name))
		}
		return newWake(tick, env.Log), poster.Close, nil
	})
}
