package account

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/network"
	"github.com/tidings-im/tidings/shared/vault"
)

// codeLen is how many letters a mailed code has: 40 bits, so that not even who
// may try a hundred times an hour, of a hundred thousand accounts, guesses one
// in years.
const codeLen = 8

type nothing struct{}

type prover interface {
	// Prove returns nil if password is the caller's or, of a caller who has
	// none, if they have signed in just now. Denied: it is not.
	Prove(ctx context.Context, c im.Caller, password string) error
}

type self interface {
	// Self returns a user as they see themselves; NotFound: they are gone.
	Self(ctx context.Context, user string) (im.Self, error)
}

type asker interface {
	// Ask notes that a mail is to be sent, if it does not wait already.
	// Overloaded: too many wait.
	Ask(ctx context.Context, purpose, email, user string) error
}

type mailLimiter interface {
	// AllowMail counts one more mail to an address for a purpose that somebody
	// asks for. Overloaded: they asked for too many. False: others did.
	AllowMail(ctx context.Context, purpose, email, asker string) (bool, error)
}

// wake has mails sent that were asked for, now rather than when a clock calls.
// It does not wait for it, and may fail.
type wake func()

type verifyRequest struct {
	Password string `json:"password"`
}

// verify mails a code to the address that the caller says is theirs. It asks
// for the password: who has proved an address can have the password reset by
// it, and who has stolen an access token shall not get that far.
func verify(users self, mails asker, who prover, limit mailLimiter, send wake) func(context.Context, im.Caller, verifyRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in verifyRequest) (nothing, error) {
		u, err := users.Self(ctx, c.User)
		switch {
		case err != nil:
			return nothing{}, fmt.Errorf("verifying an e-mail address: %w", gone(err))
		case u.Email == "":
			return nothing{}, im.Errorf(im.Conflict, "there is no e-mail address to verify: set one first")
		case u.EmailVerified:
			return nothing{}, nil
		}
		if err := who.Prove(ctx, c, in.Password); err != nil {
			return nothing{}, err
		}
		switch allowed, err := limit.AllowMail(ctx, im.MailVerify, u.Email, c.User); {
		case err != nil:
			return nothing{}, err
		case !allowed:
			return nothing{}, im.Errorf(im.Overloaded, "too many mails to this address: wait and try again")
		}
		if err := mails.Ask(ctx, im.MailVerify, u.Email, c.User); err != nil {
			return nothing{}, fmt.Errorf("verifying an e-mail address: %w", err)
		}
		send()
		return nothing{}, nil
	}
}

type confirmer interface {
	// ConfirmEmail notes that a user has proved that their e-mail address is
	// theirs, if is reports that a hash is that of the code that they gave, and
	// returns them. Denied: it is not. Conflict: another has proved it.
	ConfirmEmail(ctx context.Context, user string, is func(user, email string, hash []byte) bool) (im.Self, error)
}

type confirmRequest struct {
	Code string `json:"code"`
}

// confirm takes the code that was mailed. It may be repeated.
func confirm(users confirmer, v *vault.Vault) func(context.Context, im.Caller, confirmRequest) (im.Self, error) {
	return func(ctx context.Context, c im.Caller, in confirmRequest) (im.Self, error) {
		code, ok := vault.ParseCode(in.Code, codeLen)
		if !ok {
			return im.Self{}, errForm
		}
		u, err := users.ConfirmEmail(ctx, c.User, func(user, email string, hash []byte) bool {
			return v.Is(hash, code, im.MailVerify, user, email)
		})
		if err != nil {
			return im.Self{}, fmt.Errorf("confirming an e-mail address: %w", gone(err))
		}
		return u, nil
	}
}

var errForm = im.Errorf(im.Invalid, "a code has %d letters and digits, as it was mailed", codeLen)

type addressLimiter interface {
	// AllowFrom counts an attempt of a network address. Overloaded: too many.
	AllowFrom(ctx context.Context, what, address string) error
	// AllowReset counts an attempt to reset the password of who has an e-mail
	// address, of those who asked for a code under a handle, or of all who show
	// none, "". Overloaded: too many.
	AllowReset(ctx context.Context, email, handle string) error
}

type forgotRequest struct {
	Email string `json:"email"`
}

// asked is the proof of having asked for a code.
type asked struct {
	Handle string `json:"handle"`
}

// forgot has a code mailed to an address, if somebody has proved that it is
// theirs. It is not looked up here whether anybody has: the answer, and the time
// it takes, is the same. Whoever asks gets a handle, under which their attempts
// are counted apart from all others'; also if no mail is sent, because others
// have asked for too many: the code in the last one is good.
func forgot(users asker, from addressLimiter, limit mailLimiter, handles handles, send wake) func(context.Context, string, forgotRequest) (asked, error) {
	return func(ctx context.Context, address string, in forgotRequest) (asked, error) {
		email, err := im.NormalEmail(in.Email)
		if err != nil {
			return asked{}, err
		}
		if err := from.AllowFrom(ctx, "forgot", address); err != nil {
			return asked{}, err
		}
		allowed, err := limit.AllowMail(ctx, im.MailReset, email, network.Widest(address))
		if err != nil {
			return asked{}, err
		}
		if allowed {
			if err := users.Ask(ctx, im.MailReset, email, ""); err != nil {
				return asked{}, fmt.Errorf("asking to reset a password: %w", err)
			}
			send()
		}
		return asked{handles.issue(email)}, nil
	}
}

type resetter interface {
	// ResetPassword puts the hash of a password in the place of what the user
	// has who has proved that an e-mail address is theirs, and ends their
	// sessions and what else is said, if is reports that a hash is that of the
	// code that was given, and fit takes the password. It returns the sessions.
	// Denied: it is not, or there is no such user.
	ResetPassword(ctx context.Context, email string, is func(user string, hash []byte) bool, fit func(im.User) error, passwordHash string, also im.Revocation) (u im.User, ended []im.Session, err error)
}

type hasher interface {
	// Hash returns the hash of a password, for somebody at a network address.
	// Overloaded: too many are waiting.
	Hash(ctx context.Context, address, password string) (string, error)
}

type ender interface {
	// RevokedAll tells everybody that sessions have ended.
	RevokedAll(ctx context.Context, ended []im.Session)
}

type resetRequest struct {
	Email  string `json:"email"`
	Handle string `json:"handle"`
	Code   string `json:"code"`
	New    string `json:"new"`

	// nil is true: whoever does not know the password any more may not be the
	// only one who is signed in.
	RevokeBots       *bool `json:"revoke_bots"`
	RevokeIdentities *bool `json:"revoke_identities"`
}

// resetDone is the answer, which says nothing, and for the security log whose
// password it was.
type resetDone struct{ user string }

// AuditedAs returns whose password it was.
func (r resetDone) AuditedAs() im.Caller { return im.Caller{User: r.user} }

type reseter struct {
	users     resetter
	from      addressLimiter
	passwords hasher
	vault     *vault.Vault
	handles   handles
	end       ender
}

// call gives another password to who has the code that was mailed, and signs
// them out everywhere, their bots and accounts elsewhere among it unless they
// say otherwise. A second factor stays.
func (r *reseter) call(ctx context.Context, address string, in resetRequest) (resetDone, error) {
	email, err := im.NormalEmail(in.Email)
	if err := cmp.Or(err, user.CheckNewPassword(in.New, email)); err != nil {
		return resetDone{}, err
	}
	code, ok := vault.ParseCode(in.Code, codeLen)
	if !ok {
		return resetDone{}, errForm
	}
	handle, ok := r.handles.read(in.Handle, email)
	if !ok {
		return resetDone{}, im.Errorf(im.Denied, "the handle is not of this e-mail address, or too old: ask for a new code")
	}
	if err := r.from.AllowFrom(ctx, "reset", address); err != nil {
		return resetDone{}, err
	}
	if err := r.from.AllowReset(ctx, email, handle); err != nil {
		return resetDone{}, err
	}
	// Before the code is looked at: it takes as long for one that is wrong.
	hash, err := r.passwords.Hash(ctx, address, in.New)
	if err != nil {
		return resetDone{}, err
	}
	also := im.Revocation{
		Bots:       in.RevokeBots == nil || *in.RevokeBots,
		Identities: in.RevokeIdentities == nil || *in.RevokeIdentities,
	}
	u, ended, err := r.users.ResetPassword(ctx, email, func(user string, stored []byte) bool {
		return r.vault.Is(stored, code, im.MailReset, user, email)
	}, func(u im.User) error { return user.CheckNewPassword(in.New, u.Account, u.Name) }, hash, also)
	if err != nil {
		return resetDone{}, fmt.Errorf("resetting a password: %w", err)
	}
	r.end.RevokedAll(ctx, ended)
	return resetDone{u.ID}, nil
}
