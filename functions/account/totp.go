package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/vault"
)

// recoveryCodes is how many there are.
const recoveryCodes = 10

type factors interface {
	// Factor returns the second factor of a user; NotFound: they have none.
	Factor(ctx context.Context, user string) (im.Factor, error)
	// SetFactor gives a user a second factor that they have yet to confirm.
	// Conflict: they have confirmed one.
	SetFactor(ctx context.Context, user, secret string) error
	// ConfirmFactor has the second factor of a secret asked for from now on.
	// Conflict: it was confirmed already, or set up anew.
	ConfirmFactor(ctx context.Context, user, secret string, step int64, recovery [][]byte) error
	// DeleteFactor removes the second factor of a user.
	DeleteFactor(ctx context.Context, user string) error
}

type codeLimiter interface {
	// AllowIn counts a code of a user that is tried in a lane. Overloaded: there
	// were too many.
	AllowIn(ctx context.Context, user, lane string) error
}

type codeChecker interface {
	// Check uses up a code of a user's second factor, if they have one, which is
	// tried in a lane. SecondFactor: there is no code, or another one.
	Check(ctx context.Context, user, lane, code string) error
	// CheckAs is Check of a caller who is signed in. Denied: likewise.
	CheckAs(ctx context.Context, c im.Caller, code string) error
}

type setupRequest struct {
	Password string `json:"password"`
}

type factorSecret struct {
	Secret string `json:"secret"` // base32
	URI    string `json:"uri"`    // for an authenticator: otpauth://totp/…
}

// ShownOnce keeps the secret out of what is kept of answers.
func (factorSecret) ShownOnce() {}

// setup gives the caller a second factor that they have to confirm before it
// is asked for.
func setup(users self, store factors, who prover, v *vault.Vault, service string) func(context.Context, im.Caller, setupRequest) (factorSecret, error) {
	return func(ctx context.Context, c im.Caller, in setupRequest) (factorSecret, error) {
		if err := who.Prove(ctx, c, in.Password); err != nil {
			return factorSecret{}, err
		}
		u, err := users.Self(ctx, c.User)
		if err != nil {
			return factorSecret{}, fmt.Errorf("setting up a second factor: %w", gone(err))
		}
		key, err := totp.Generate(totp.GenerateOpts{Issuer: service, AccountName: u.Account})
		if err != nil {
			return factorSecret{}, fmt.Errorf("making the secret of a second factor: %w", err)
		}
		if err := store.SetFactor(ctx, c.User, v.Seal([]byte(key.Secret()), "totp", c.User)); err != nil {
			return factorSecret{}, gone(err)
		}
		return factorSecret{Secret: key.Secret(), URI: key.URL()}, nil
	}
}

type codeRequest struct {
	Code string `json:"code"`
}

type recovery struct {
	Codes []string `json:"recovery_codes"`
}

// ShownOnce keeps the codes out of what is kept of answers.
func (recovery) ShownOnce() {}

// confirmFactor takes the first code of a second factor, which is asked for from
// then on, and returns codes for when it is lost.
func confirmFactor(store factors, limit codeLimiter, v *vault.Vault) func(context.Context, im.Caller, codeRequest) (recovery, error) {
	return func(ctx context.Context, c im.Caller, in codeRequest) (recovery, error) {
		f, err := store.Factor(ctx, c.User)
		switch {
		case errors.Is(err, im.NotFound):
			return recovery{}, im.Wrap(im.Conflict, err, "there is no second factor to confirm: set one up first")
		case err != nil:
			return recovery{}, err
		case f.Confirmed:
			return recovery{}, im.Errorf(im.Conflict, "the second factor was confirmed already")
		}
		if err := limit.AllowIn(ctx, c.User, c.Session); err != nil {
			return recovery{}, err
		}
		secret, _, err := v.Open(f.Secret, "totp", c.User)
		if err != nil {
			return recovery{}, fmt.Errorf("confirming a second factor: %w", err)
		}
		step, ok := user.MatchStep(string(secret), in.Code, time.Now())
		if !ok {
			return recovery{}, im.Errorf(im.Denied, "the code is not right: is the clock of the device that made it?")
		}
		out := recovery{Codes: make([]string, recoveryCodes)}
		hashes := make([][]byte, recoveryCodes)
		for i := range out.Codes {
			out.Codes[i] = vault.NewCode(user.RecoveryLen)
			code, _ := vault.ParseCode(out.Codes[i], user.RecoveryLen)
			hashes[i] = user.RecoveryHash(c.User, code)
		}
		if err := store.ConfirmFactor(ctx, c.User, f.Secret, step, hashes); err != nil {
			return recovery{}, err
		}
		return out, nil
	}
}

type removeRequest struct {
	Password string `json:"password"`
	Code     string `json:"code"`
}

// removeFactor takes the second factor of the caller away. It may be repeated.
func removeFactor(store factors, who prover, codes codeChecker) func(context.Context, im.Caller, removeRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in removeRequest) (nothing, error) {
		if err := who.Prove(ctx, c, in.Password); err != nil {
			return nothing{}, err
		}
		if err := codes.CheckAs(ctx, c, in.Code); err != nil {
			return nothing{}, err
		}
		return nothing{}, store.DeleteFactor(ctx, c.User)
	}
}
