package user

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/vault"
)

const (
	stepLen = 30 // seconds
	skew    = 1  // steps before and after the present whose codes are good

	// RecoveryLen is how many letters a recovery code has: 80 bits, so that its
	// hash needs no salt and no key.
	RecoveryLen = 16
)

type factorStore interface {
	// Factor returns the second factor of a user; NotFound: they have none.
	Factor(ctx context.Context, user string) (im.Factor, error)
	// UseStep notes that the code of a step was used, and stores the secret as
	// it is encrypted now; false: that step, or a later one, was used before.
	UseStep(ctx context.Context, user string, step int64, secret string) (bool, error)
	// UseRecoveryCode uses up a recovery code; false: there is none of the hash.
	UseRecoveryCode(ctx context.Context, user string, hash []byte) (bool, error)
}

type factorLimiter interface {
	// AllowIn counts a code of a user that is tried in a lane. Overloaded: there
	// were too many.
	AllowIn(ctx context.Context, user, lane string) error
}

// SecondFactor asks for the second factor of users who have one: a code of TOTP
// (RFC 6238), or a recovery code in its place.
type SecondFactor struct {
	store factorStore
	limit factorLimiter
	vault *vault.Vault
	log   *slog.Logger
}

// Needs reports whether a user has a second factor.
func (s *SecondFactor) Needs(ctx context.Context, user string) (bool, error) {
	f, err := s.store.Factor(ctx, user)
	if errors.Is(err, im.NotFound) {
		return false, nil
	}
	return f.Confirmed, err
}

// Check uses up a code of a user's second factor, if they have one. The error
// is of kind SecondFactor if there is no code, or another one. Every code that
// is tried counts against the limit of a lane, which nothing passes while it
// cannot be asked: a lane is of a device, or a session, that was let in before, or
// "" of strangers, so that whoever knows the password keeps nobody out.
func (s *SecondFactor) Check(ctx context.Context, user, lane, code string) error {
	f, err := s.store.Factor(ctx, user)
	switch {
	case errors.Is(err, im.NotFound), err == nil && !f.Confirmed:
		return nil
	case err != nil:
		return err
	case code == "":
		return im.Errorf(im.SecondFactor, `a code of the second factor is needed in "code": of the authenticator, or a recovery code`)
	}
	if err := s.limit.AllowIn(ctx, user, lane); err != nil {
		return err
	}
	used, err := s.use(ctx, user, f, code)
	if err != nil {
		return fmt.Errorf("checking a second factor: %w", err)
	}
	if !used {
		return im.Errorf(im.SecondFactor, "the code is not right, or was used before: wait for the next one")
	}
	return nil
}

// CheckAs is Check of a caller who is signed in. Denied: there is no code, or
// another one.
func (s *SecondFactor) CheckAs(ctx context.Context, c im.Caller, code string) error {
	err := s.Check(ctx, c.User, c.Session, code)
	var e *im.Error
	if errors.As(err, &e) && e.Kind == im.SecondFactor { // it is known who is calling
		return im.Wrap(im.Denied, err, "%s", e.Msg)
	}
	return err
}

func (s *SecondFactor) use(ctx context.Context, user string, f im.Factor, code string) (bool, error) {
	if recovery, ok := vault.ParseCode(code, RecoveryLen); ok {
		used, err := s.store.UseRecoveryCode(ctx, user, RecoveryHash(user, recovery))
		if used {
			s.log.InfoContext(ctx, "a recovery code was used", "user", user)
		}
		return used, err
	}
	secret, stale, err := s.vault.Open(f.Secret, "totp", user)
	if err != nil {
		return false, err
	}
	step, ok := MatchStep(string(secret), code, time.Now())
	if !ok || step <= f.LastStep {
		return false, nil
	}
	if stale {
		f.Secret = s.vault.Seal(secret, "totp", user)
	}
	return s.store.UseStep(ctx, user, step, f.Secret)
}

// MatchStep returns the step of time, now or one beside it, whose code of a
// secret is the given one; false if none is.
func MatchStep(secret, code string, now time.Time) (step int64, ok bool) {
	code = strings.ReplaceAll(code, " ", "")
	at := now.Unix() / stepLen
	for _, step := range []int64{at, at - skew, at + skew} {
		if step < 0 {
			continue
		}
		opts := hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}
		if is, err := hotp.ValidateCustom(code, uint64(step), secret, opts); err == nil && is {
			return step, true
		}
	}
	return 0, false
}

// RecoveryHash returns what is stored of a recovery code of a user.
func RecoveryHash(user, code string) []byte {
	sum := sha256.Sum256([]byte(user + "\x00" + code))
	return sum[:]
}
