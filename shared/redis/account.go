package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/go-redis/redis_rate/v10"

	"github.com/tidings-im/tidings/shared/proc"
)

// What has a limit of its own among the ways into an account.
var (
	Mails = Limited{
		name:    "mail",
		setting: proc.Setting{Name: "MAILS_PER_HOUR", Default: "5", Doc: "mails per hour to one e-mail address, whoever asks for them"},
		per:     redis_rate.PerHour,
		says:    "too many mails to this address: wait and try again",
	}
	SecondFactors = Limited{
		name:    "second-factor",
		setting: proc.Setting{Name: "CODES_PER_HOUR", Default: "10", Doc: "how often per hour a code of a user's second factor may be tried, right or wrong"},
		per:     redis_rate.PerHour,
		says:    "too many codes were tried: wait and try again",
	}
)

// AllowFrom counts an attempt of one address at something that anybody may
// do, as often as to sign in.
func (s *SignIns) AllowFrom(ctx context.Context, what, address string) error {
	return s.allow(ctx, what+":address:{"+address+"}", s.perMinute)
}

// AllowReset counts an attempt to reset the password of whoever has an e-mail
// address, as AllowSignIn does of an account.
func (s *SignIns) AllowReset(ctx context.Context, email, address string) error {
	if err := s.AllowFrom(ctx, "reset", address); err != nil {
		return err
	}
	return s.allow(ctx, "reset:email:{"+hashed(email)+"}", s.perMinute)
}

// A MailLimit bounds how many mails go to an address. It fails closed.
type MailLimit struct{ *Limit }

// OpenMailLimit returns the limit of mails.
func OpenMailLimit(ctx context.Context, env *proc.Env) (MailLimit, error) {
	l, err := OpenLimit(ctx, env, Mails)
	return MailLimit{l}, err
}

// AllowMail counts one more mail to an address. The error is Overloaded, and
// says when to try again, if there were too many.
func (l MailLimit) AllowMail(ctx context.Context, email string) error {
	return l.Allow(ctx, hashed(email))
}

// hashed is an address as a key: Redis need not know it.
func hashed(email string) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:16])
}
