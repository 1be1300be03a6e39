// Package account is the functions of what a user is known by beyond a
// password: an e-mail address that is proved to be theirs, accounts elsewhere,
// a second factor. It stands on the area user, which signs in.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/mail"
	"github.com/tidings-im/tidings/shared/postgres/accounts"
	"github.com/tidings-im/tidings/shared/postgres/users"
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
var VerifyEmail = fn.API("email-verify", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), verify(users.In(o), accounts.In(o), user.ProverIn(o), redis.MailLimitIn(o), wakeIn(o)))
}).Asks(fn.AskedInside()).AuditsRefusals()

// ConfirmEmail takes the code.
var ConfirmEmail = fn.API("email-confirm", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), confirm(accounts.In(o), vault.In(o)))
}).Asks(fn.Fresh()).Audits(audit.EmailChange)

// ForgotPassword mails a code to whoever has an address.
var ForgotPassword = fn.API("password-forgot", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallFrom(forgot(accounts.In(o), redis.SignInsIn(o), redis.MailLimitIn(o), handles{vault.In(o)}, wakeIn(o)))
}).AuditsRefusals()

// ResetPassword takes the code.
var ResetPassword = fn.API("password-reset", fn.People, func(o *fn.Opener) fn.Handler {
	v := vault.In(o)
	r := &reseter{
		users: accounts.In(o), from: redis.SignInsIn(o), passwords: user.PasswordsIn(o, "resetting"),
		vault: v, handles: handles{v}, end: user.EnderIn(o),
	}
	return fn.CallFrom(r.call)
}).Audits(audit.PasswordChange)

// SendMails sends the mails that were asked for.
var SendMails = fn.Every("mail-send", time.Minute, func(o *fn.Opener) fn.Handler {
	env := o.Env()
	s := &sender{store: accounts.In(o), vault: vault.In(o), service: o.String(settingService), log: env.Log}
	s.sent, s.waiting = newMailMetrics()
	o.Fail(errors.Join(env.Metrics.Register(s.sent), env.Metrics.Register(s.waiting)))
	if by, err := mail.Open(env); err == nil {
		s.smtp = by
	} else if !errors.Is(err, mail.ErrOff) {
		o.Fail(err)
	}
	return fn.Timed(s.send)
})

// StartOAuth begins to sign in by an account elsewhere.
var StartOAuth = fn.API("oauth-start", fn.People, func(o *fn.Opener) fn.Handler {
	redirects, err := parseRedirects(o.List(settingRedirects))
	if err != nil {
		o.Fail(fmt.Errorf("setting %s: %w", settingRedirects.Name, err))
	}
	s := &starter{providers: providersIn(o), redirects: redirects, flows: redis.In(o).NewFlows(), limit: redis.SignInsIn(o), who: user.ProverIn(o)}
	return fn.CallMaybe(redis.GateIn(o), s.call)
}).Asks(fn.AskedInside()).AuditsRefusals() // to link

// EndOAuth ends it.
var EndOAuth = fn.API("oauth-callback", fn.People, func(o *fn.Opener) fn.Handler {
	c := &callback{
		providers: providersIn(o), flows: redis.In(o).NewFlows(), limit: redis.SignInsIn(o), users: accounts.In(o),
		names: user.NamesIn(o), newcomers: redis.NewcomersIn(o), second: user.SecondFactorIn(o), begin: user.BeginnerIn(o), audit: audit.In(o),
	}
	return fn.CallMaybe(redis.GateIn(o), c.call)
}).Audits(audit.LoginSuccess) // or IdentityChange, of who links

// Identities lists the accounts elsewhere by which the caller signs in.
var Identities = fn.API("identity-list", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), list(accounts.In(o))) })

// DeleteIdentity removes one.
var DeleteIdentity = fn.API("identity-delete", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), unlink(accounts.In(o)))
}).Asks(fn.Fresh()).Audits(audit.IdentityChange)

// SetUpTOTP gives the caller a second factor.
var SetUpTOTP = fn.API("totp-setup", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), setup(users.In(o), accounts.In(o), user.ProverIn(o), vault.In(o), o.String(settingService)))
}).Asks(fn.AskedInside()).AuditsRefusals()

// ConfirmTOTP has it asked for from then on.
var ConfirmTOTP = fn.API("totp-confirm", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), confirmFactor(accounts.In(o), redis.LimitIn(o, redis.SecondFactors), vault.In(o)))
}).Audits(audit.FactorChange)

// DeleteTOTP takes it away.
var DeleteTOTP = fn.API("totp-delete", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), removeFactor(accounts.In(o), user.ProverIn(o), user.SecondFactorIn(o)))
}).Asks(fn.AskedInside()).Audits(audit.FactorChange)

// providersIn returns the process's providers.
func providersIn(o *fn.Opener) map[string]provider {
	list := o.String(settingProviders)
	o.Env().Uses(proc.Outside)
	return proc.ShareIn(o, "account.providers", func() (map[string]provider, func() error, error) {
		client := newProviderClient()
		providers, err := parseProviders(list, client)
		if err != nil {
			return nil, nil, fmt.Errorf("setting %s: %w", settingProviders.Name, err)
		}
		return providers, func() error { client.CloseIdleConnections(); return nil }, nil
	})
}

// wakeIn returns the process's wake of mail-send.
func wakeIn(o *fn.Opener) wake {
	urls, poster := fn.URLsIn(o), fn.PosterIn(o, wakeTime)
	return proc.ShareIn(o, "account.wake", func() (wake, func() error, error) {
		tick := func(ctx context.Context) error {
			return poster.Tick(ctx, SendMails.Name, urls.Of(SendMails.Name))
		}
		return newWake(tick, o.Env().Log), nil, nil
	})
}
