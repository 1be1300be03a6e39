package user

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type passwordChanger interface {
	// Self returns a user as they see themselves; NotFound if they are not
	// there any more.
	Self(ctx context.Context, user string) (im.Self, error)
	// ChangePassword puts one hash in the place of another, ends all sessions of
	// the user and what else is said, and begins one. It returns the sessions
	// that have ended. Conflict: the password is another by now.
	ChangePassword(ctx context.Context, s im.Session, oldHash, newHash string, refreshHash []byte, expires time.Time, also im.Revocation) (ended []im.Session, err error)
}

type passwordRequest struct {
	Old              string `json:"old"`
	New              string `json:"new"`
	RevokeBots       bool   `json:"revoke_bots"`
	RevokeIdentities bool   `json:"revoke_identities"`
}

// renewed are the tokens of the session that takes the place of the one in which
// a password was changed.
type renewed struct{ issued }

// ShownOnce says that the answer is kept nowhere.
func (renewed) ShownOnce() {}

// changePassword gives the caller another password, and signs out everybody who
// knew the old one or holds a token that was given for it; the caller, too,
// whose device is given a session of its own instead. Once it is changed the
// answer says so, whether or not the others could be closed at once.
func changePassword(users passwordChanger, who *Prover, tokens tokens, end *ender) func(context.Context, im.Caller, passwordRequest) (renewed, error) {
	return func(ctx context.Context, c im.Caller, in passwordRequest) (renewed, error) {
		if err := im.CheckPassword(in.New); err != nil {
			return renewed{}, err
		}
		old, err := who.prove(ctx, c, in.Old)
		if err != nil {
			return renewed{}, fmt.Errorf("changing a password: %w", gone(err))
		}
		u, err := users.Self(ctx, c.User)
		if err == nil {
			err = CheckNewPassword(in.New, u.Account, u.Name, u.Email)
		}
		if err != nil {
			return renewed{}, fmt.Errorf("changing a password: %w", gone(err))
		}
		hash, err := who.passwords.hash(ctx, callerPrefix+c.User, in.New)
		if err != nil {
			return renewed{}, fmt.Errorf("changing a password: %w", err)
		}
		s := im.Session{ID: im.NewID(), User: c.User, Device: c.Device, Platform: c.Platform, Created: im.Now()}
		s.Proved = s.Created
		refresh := tokens.newRefresh()
		also := im.Revocation{Bots: in.RevokeBots, Identities: in.RevokeIdentities}
		ended, err := users.ChangePassword(ctx, s, old, hash, refresh.hash, refresh.expires, also)
		if err != nil {
			return renewed{}, fmt.Errorf("changing a password: %w", err)
		}
		Ender{end}.RevokedAll(ctx, ended)
		t, err := tokens.issue(s, refresh)
		return renewed{t}, err
	}
}
