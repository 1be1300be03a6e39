package user

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type issuer interface {
	Issue(im.Caller) (token string, expires time.Time, err error)
}

// tokens makes the two tokens of a session: one that is shown with each
// request and good for minutes, one that gets the next pair.
type tokens struct {
	access     issuer
	refreshTTL time.Duration
	grace      time.Duration // in which a refresh token may come again
}

// issued is what a client is given.
type issued struct {
	Session        string  `json:"session"`
	AccessToken    string  `json:"access_token"`
	Expires        im.Time `json:"expires_at"`
	RefreshToken   string  `json:"refresh_token"`
	RefreshExpires im.Time `json:"refresh_expires_at"`
}

type signedIn struct {
	User im.User `json:"user"`
	issued
	Proof string `json:"device_proof"`
}

// AuditedAs returns whose session it is, for the security log.
func (s signedIn) AuditedAs() im.Caller { return im.Caller{User: s.User.ID, Session: s.Session} }

// A refresh token is 256 random bits. Only its hash is stored; it needs no
// salt, being random itself.
type refreshToken struct {
	token   string
	hash    []byte
	expires time.Time
}

const refreshLen = 32

func (t tokens) newRefresh() refreshToken {
	var b [refreshLen]byte
	rand.Read(b[:])
	hash := sha256.Sum256(b[:])
	return refreshToken{
		token:   base64.RawURLEncoding.EncodeToString(b[:]),
		hash:    hash[:],
		expires: time.Now().Add(t.refreshTTL),
	}
}

// hashOf returns the hash of a refresh token, and false if it is none by its form.
func hashOf(token string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != refreshLen {
		return nil, false
	}
	hash := sha256.Sum256(b)
	return hash[:], true
}

// callerOf returns who the bearer of an access token of a session is.
func callerOf(s im.Session) im.Caller {
	return im.Caller{User: s.User, Session: s.ID, Device: s.Device, Platform: s.Platform, Proved: s.Proved}
}

func (t tokens) issue(s im.Session, refresh refreshToken) (issued, error) {
	access, expires, err := t.access.Issue(callerOf(s))
	if err != nil {
		return issued{}, err
	}
	return issued{
		Session:        s.ID,
		AccessToken:    access,
		Expires:        im.TimeOf(expires),
		RefreshToken:   refresh.token,
		RefreshExpires: im.TimeOf(refresh.expires),
	}, nil
}
