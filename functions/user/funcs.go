// Package user is the functions of accounts and sessions: who registers, signs
// in and out, looks at users, changes or deletes themselves. It does not know
// of friends, groups or messages, but that a user who is deleted leaves them.
package user

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/accounts"
	"github.com/tidings-im/tidings/shared/postgres/erasures"
	"github.com/tidings-im/tidings/shared/postgres/users"
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
var Register = fn.API("user-register", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallFrom(register(users.In(o), redis.SignInsIn(o), hasherIn(o, "registering"), NamesIn(o), redis.NewcomersIn(o)))
}).Audits(audit.UserCreated)

// Login signs a device in.
var Login = fn.API("user-login", fn.People, func(o *fn.Opener) fn.Handler {
	l := &login{
		accounts: users.In(o), limit: redis.SignInsIn(o), passwords: hasherIn(o, "signing in"), second: SecondFactorIn(o),
		Beginner: *BeginnerIn(o),
	}
	return fn.CallFrom(l.call)
}).Audits(audit.LoginSuccess)

// Refresh gives the next pair of tokens of a session.
var Refresh = fn.API("token-refresh", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallFrom(refresh(users.In(o), redis.RefreshesIn(o), tokensIn(o), enderIn(o)))
}).AuditsRefusals()

// Logout ends the session of the caller.
var Logout = fn.API("user-logout", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), logout(users.In(o), enderIn(o)))
}).Audits(audit.TokenRevoked)

// Get returns a user.
var Get = fn.API("user-get", im.UsersRead, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), get(users.In(o))) })

// Update changes what the caller says of themselves.
var Update = fn.API("user-update", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), update(users.In(o), o.List(settingAvatars)))
}).Asks(fn.FreshWith("email")).Audits(audit.EmailChange, "email") // by which a password can be reset

// Search finds users by what the caller knows of them.
var Search = fn.API("user-search", im.UsersRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), search(users.In(o), redis.LimitIn(o, redis.Searches)))
})

// ChangePassword gives the caller another password.
var ChangePassword = fn.API("password-change", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), changePassword(users.In(o), ProverIn(o), tokensIn(o), enderIn(o)))
}).Asks(fn.AskedInside()).Audits(audit.PasswordChange)

// ProveAgain has a caller prove again who they are, for what asks for it.
var ProveAgain = fn.API("session-prove", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), proveAgain(ProverIn(o), SecondFactorIn(o), RenewerIn(o)))
}).Audits(audit.SessionRenewed)

// Sessions lists where the caller is signed in.
var Sessions = fn.API("session-list", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), sessions(users.In(o))) })

// Revoke ends a session of the caller.
var Revoke = fn.API("session-revoke", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), revoke(users.In(o), enderIn(o)))
}).Audits(audit.TokenRevoked)

// Delete deletes the caller.
var Delete = fn.API("user-delete", fn.People, func(o *fn.Opener) fn.Handler {
	r := &remover{who: ProverIn(o), second: SecondFactorIn(o), change: outbox.ChangesIn[leaver](o, erasures.With), end: enderIn(o), erase: eraserIn(o)}
	return fn.CallAs(redis.GateIn(o), r.call)
}).Asks(fn.AskedInside()).Audits(audit.UserDeleted)

// Sweep does what the others have left, and removes what is of no use any more.
var Sweep = fn.Every("session-sweep", time.Minute, func(o *fn.Opener) fn.Handler {
	return fn.Timed((&sweeper{store: users.In(o), erasures: erasures.In(o), end: enderIn(o), erase: eraserIn(o)}).sweep)
}).AuditsRefusals() // and the sessions that it ends

// BeginnerIn returns what begins sessions.
func BeginnerIn(o *fn.Opener) *Beginner {
	return &Beginner{
		sessions: users.In(o), tokens: tokensIn(o), proofs: proofs{vault.In(o), o.Duration(settingProof)},
		most: o.Int(settingSessions, 1), end: enderIn(o),
	}
}

// SecondFactorIn returns what asks for second factors.
func SecondFactorIn(o *fn.Opener) *SecondFactor {
	return &SecondFactor{store: accounts.In(o), limit: redis.LimitIn(o, redis.SecondFactors), vault: vault.In(o), log: o.Env().Log}
}

// ProverIn returns what has callers prove again who they are.
func ProverIn(o *fn.Opener) *Prover {
	return &Prover{users: users.In(o), limit: redis.SignInsIn(o), passwords: hasherIn(o, "signing in"), fresh: fn.FreshIn(o)}
}

// RenewerIn returns what gives access tokens to callers who have proved again
// who they are.
func RenewerIn(o *fn.Opener) *Renewer {
	return &Renewer{sessions: users.In(o), access: token.IssuerIn(o)}
}

// PasswordsIn returns what hashes passwords for a purpose.
func PasswordsIn(o *fn.Opener, purpose string) Passwords { return Passwords{hasherIn(o, purpose)} }

// EnderIn returns what tells of sessions that have ended.
func EnderIn(o *fn.Opener) Ender { return Ender{enderIn(o)} }

// NamesIn returns the names that nobody may register in this deployment.
func NamesIn(o *fn.Opener) Names { return newNames(o.List(settingReserved)) }

func eraserIn(o *fn.Opener) *eraser {
	return &eraser{inbox: inbox.In(o), hints: redis.In(o), notes: erasures.In(o)}
}

// hasherIn returns the process's hasher of passwords for a purpose. Each has a
// queue of its own, so that many who register keep nobody from signing in.
func hasherIn(o *fn.Opener, purpose string) *hasher {
	parallel, waiting := o.Int(settingHashing, 1), o.Int(settingHashQueue, 0)
	memory := proc.OpenEnv(o, (*proc.Env).Budgets)
	return proc.ShareIn(o, "user.hasher "+purpose, func() (*hasher, func() error, error) {
		fit := memory.Reserve(parallel, current.bytes())
		if fit == 0 {
			return nil, nil, fmt.Errorf("hashing a password for %s takes %d MiB, which the process has not left: give it more memory", purpose, current.bytes()>>20)
		}
		if fit < parallel {
			o.Env().Log.Warn("hashing fewer passwords at a time than "+settingHashing.Name+" says: more do not fit in the memory of the process", "parallel", fit)
		}
		h := newHasher(fit, waiting)
		h.work = memory.Work
		return h, nil, nil
	})
}

func tokensIn(o *fn.Opener) tokens {
	t := tokens{access: token.IssuerIn(o), refreshTTL: o.Duration(settingRefreshTTL)}
	if o.String(settingGrace) != "0" {
		t.grace = o.Duration(settingGrace)
	}
	return t
}

func enderIn(o *fn.Opener) *ender {
	cache, poster := redis.In(o), fn.PosterIn(o, endTimeout)
	return &ender{
		marks:    cache,
		told:     users.In(o),
		conns:    cache,
		gateways: redis.GatewaysIn(o),
		post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
			return poster.Deliver(ctx, "gateway", url, events)
		},
		seal:  fn.KeyringIn(o),
		log:   o.Env().Log,
		audit: audit.In(o),
	}
}
