package bot

import (
	"context"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type byToken interface {
	// BotByToken returns whose token has a hash, and the token.
	// Unauthenticated: none that is good.
	BotByToken(ctx context.Context, hash []byte) (im.Profile, im.BotToken, error)
}

type issuer interface {
	// IssueUntil returns an access token, which expires at latest at the latest.
	IssueUntil(c im.Caller, latest time.Time) (token string, expires time.Time, err error)
}

type loginRequest struct {
	Token string `json:"token"`
}

type signedIn struct {
	User        im.Profile `json:"user"`
	Session     string     `json:"session"`
	AccessToken string     `json:"access_token"`
	Expires     im.Time    `json:"expires_at"`
	Scopes      []im.Scope `json:"scopes"`
}

// AuditedAs returns whose session it is, for the security log.
func (s signedIn) AuditedAs() im.Caller { return im.Caller{User: s.User.ID, Session: s.Session} }

type fromLimiter interface {
	// AllowFrom counts an attempt of an address. Overloaded: there were too many.
	AllowFrom(ctx context.Context, address string) error
}

type login struct {
	bots   byToken
	limit  fromLimiter
	access issuer
}

// call signs a bot in that is at a network address, "" if that is not known.
// The session is that of the token, however often it signs in.
func (l *login) call(ctx context.Context, address string, in loginRequest) (signedIn, error) {
	hash, ok := hashOf(in.Token)
	if !ok {
		return signedIn{}, im.Errorf(im.Unauthenticated, "this is not the token of a bot")
	}
	if err := l.limit.AllowFrom(ctx, address); err != nil {
		return signedIn{}, err
	}
	p, t, err := l.bots.BotByToken(ctx, hash)
	if err != nil {
		return signedIn{}, fmt.Errorf("signing a bot in: %w", err)
	}
	var latest time.Time
	if t.Expires != 0 {
		latest = t.Expires.Std()
	}
	s := t.Session()
	access, expires, err := l.access.IssueUntil(im.Caller{
		User: s.User, Session: s.ID, Device: s.Device, Platform: s.Platform, Scope: im.ScopeClaim(t.Scopes),
	}, latest)
	if err != nil {
		return signedIn{}, err
	}
	return signedIn{User: p, Session: s.ID, AccessToken: access, Expires: im.TimeOf(expires), Scopes: t.Scopes}, nil
}
