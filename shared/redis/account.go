package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/go-redis/redis_rate/v10"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// What has a limit of its own among the ways into an account.
var (
	Mails = Limited{
		name:    "mail",
		setting: proc.Setting{Name: "MAILS_PER_HOUR", Default: "5", Doc: "mails per hour to one e-mail address, and again to prove that it is somebody's; half of them, rounded up, for one network, or one user, that asks"},
		per:     redis_rate.PerHour,
		says:    "too many mails to this address: wait and try again",
	}
	SecondFactors = Limited{
		name:    "second-factor",
		setting: proc.Setting{Name: "CODES_PER_HOUR", Default: "10", Doc: "how often per hour a code of a user's second factor may be tried, right or wrong: by each session and each device that was signed in before, and by all others together"},
		per:     redis_rate.PerHour,
		says:    "too many codes were tried: wait and try again",
	}
	SessionRefreshes = Limited{
		name:    "refresh",
		setting: proc.Setting{Name: "REFRESHES_PER_MINUTE", Default: "10", Doc: "how often per minute a session may get new tokens, and sixty times as often all of one address; an access token is good for TOKEN_TTL"},
		per:     redis_rate.PerMinute,
		says:    "you get new tokens too often: wait and try again",
	}
)

// sessionsPerAddress is for how many sessions there is room at an address that
// all get new tokens as often as they may: an office, or a provider that has one
// for many.
const sessionsPerAddress = 60

// Refreshes bounds how often new tokens are got.
type Refreshes struct{ *Limit }

// OpenRefreshes returns these bounds.
func OpenRefreshes(ctx context.Context, env *proc.Env) (Refreshes, error) {
	l, err := OpenLimit(ctx, env, SessionRefreshes)
	return Refreshes{l}, err
}

// AllowFrom counts a refresh token that comes from an address.
func (r Refreshes) AllowFrom(ctx context.Context, address string) error {
	of := r.limit
	of.Rate, of.Burst = sessionsPerAddress*of.Rate, sessionsPerAddress*of.Burst
	return countFrom(ctx, r.limiter, r.of.name, address, of, r.of.says)
}

// perHandle is how often a code may be tried under a handle, in an hour.
const perHandle = 5

// AllowReset counts an attempt to reset the password of whoever has an e-mail
// address, of those who asked for a code under a handle, or of all who show none,
// "": these share what there is, and take nothing from those who do.
func (s *SignIns) AllowReset(ctx context.Context, email, handle string) error {
	if handle == "" {
		return s.allow(ctx, "reset:email:{"+hashed(email)+"}", s.perMinute)
	}
	return count(ctx, s.limiter, "reset:handle:{"+handle+"}", redis_rate.PerHour(perHandle), 1,
		"too many codes were tried: ask for a new one")
}

// A MailLimit bounds how many mails go to an address. It fails closed.
type MailLimit struct{ *Limit }

// OpenMailLimit returns the limit of mails.
func OpenMailLimit(ctx context.Context, env *proc.Env) (MailLimit, error) {
	l, err := OpenLimit(ctx, env, Mails)
	return MailLimit{l}, err
}

// AllowMail counts one more mail to an address for a purpose that somebody, a
// network or a user, asks for. The error is Overloaded, and says when to try
// again, if they asked for more than half of what an address takes. It returns
// false if all who asked, together, asked for too many.
func (l MailLimit) AllowMail(ctx context.Context, purpose, email, asker string) (bool, error) {
	key := l.of.name + ":" + purpose + ":{" + hashed(email) + "}"
	half := l.limit
	half.Rate, half.Burst = (half.Rate+1)/2, (half.Burst+1)/2
	if err := count(ctx, l.limiter, key+":"+hashed(asker), half, 1, l.of.says); err != nil {
		return false, err
	}
	err := count(ctx, l.limiter, key, l.limit, 1, l.of.says)
	if errors.Is(err, im.Overloaded) {
		return false, nil
	}
	return err == nil, err
}

// hashed is an address as a key: Redis need not know it.
func hashed(email string) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:16])
}
