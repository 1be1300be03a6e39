// Package token issues and verifies access tokens: JWTs (RFC 7519) signed with
// Ed25519 (RFC 8037). Only functions that sign in hold the private key;
// everything else holds public keys. It does not know of sessions ending: a
// token is good until it expires.
package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingPrivate = proc.Setting{Name: "TOKEN_PRIVATE_KEY", Need: true, Secret: true, Doc: "Ed25519 key that signs access tokens, PKCS #8 in PEM (openssl genpkey -algorithm ed25519); only what gives tokens needs it: user-login, token-refresh, session-prove, password-change, oauth-callback, bot-login"}
	settingPublic  = proc.Setting{Name: "TOKEN_PUBLIC_KEYS", Need: true, Secret: true, Doc: "Ed25519 keys whose access tokens are believed, one or more PEM blocks one after another (openssl pkey -pubout); add the new one everywhere before signing with it"}
	settingTTL     = proc.Setting{Name: "TOKEN_TTL", Default: "15m", Doc: "how long an access token is good, at most 24h: for longer it is not remembered that a session has ended"}
	settingIssuer  = proc.Setting{Name: "TOKEN_ISSUER", Default: "tidings", Doc: "issuer written into access tokens and asked of them"}
)

// MaxTTL is the longest that an access token may be good. Whoever notes that a
// session has ended does so for longer.
const MaxTTL = 24 * time.Hour

// leeway is by how much clocks of different machines may disagree.
const leeway = 5 * time.Second

type claims struct {
	jwt.RegisteredClaims
	Session  string `json:"sid"`
	Device   string `json:"dev"`
	Platform string `json:"plt"`

	Scope    *string          `json:"scope,omitempty"`     // of RFC 9068; nil is everything
	AuthTime *jwt.NumericDate `json:"auth_time,omitempty"` // of OpenID Connect Core, §2: when the user last proved who they are
}

// An Issuer signs access tokens.
type Issuer struct {
	key    ed25519.PrivateKey
	kid    string
	issuer string
	ttl    time.Duration
	now    func() time.Time
}

// OpenIssuer returns an issuer with the key at TOKEN_PRIVATE_KEY.
func OpenIssuer(env *proc.Env) (*Issuer, error) {
	set := env.Settings()
	text, issuer, ttl := set.String(settingPrivate), set.String(settingIssuer), set.Duration(settingTTL)
	if err := set.Err(); err != nil {
		return nil, err
	}
	if ttl > MaxTTL {
		return nil, fmt.Errorf("setting %s: %s is more than %s (%s)", settingTTL.Name, ttl, MaxTTL, settingTTL.Doc)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("TOKEN_PRIVATE_KEY is not PEM")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading TOKEN_PRIVATE_KEY: %w", err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("TOKEN_PRIVATE_KEY is a %T: an Ed25519 key is needed", k)
	}
	return NewIssuer(key, issuer, ttl), nil
}

// NewIssuer returns an issuer of tokens that are good for ttl.
func NewIssuer(key ed25519.PrivateKey, issuer string, ttl time.Duration) *Issuer {
	return &Issuer{key: key, kid: kid(key.Public().(ed25519.PublicKey)), issuer: issuer, ttl: ttl, now: time.Now}
}

// Issue returns a token by which c is known until it expires.
func (i *Issuer) Issue(c im.Caller) (token string, expires time.Time, err error) {
	return i.IssueUntil(c, time.Time{})
}

// IssueUntil is Issue of a token that expires at a time at the latest, unless
// that is zero.
func (i *Issuer) IssueUntil(c im.Caller, latest time.Time) (token string, expires time.Time, err error) {
	now := i.now().Truncate(time.Second)
	expires = now.Add(i.ttl)
	if latest = latest.Truncate(time.Second); !latest.IsZero() && latest.Before(expires) {
		expires = latest
	}
	var scope *string
	if c.Scope != "" {
		scope = &c.Scope
	}
	var proved *jwt.NumericDate
	if c.Proved != 0 {
		proved = jwt.NewNumericDate(c.Proved.Std().Truncate(time.Second))
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.issuer,
			Subject:   c.User,
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Session:  c.Session,
		Device:   c.Device,
		Platform: c.Platform,
		Scope:    scope,
		AuthTime: proved,
	})
	t.Header["kid"] = i.kid
	token, err = t.SignedString(i.key)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("signing a token: %w", err)
	}
	return token, expires, nil
}

// A Verifier tells true tokens from false ones. It is safe for concurrent use.
type Verifier struct {
	keys   map[string]ed25519.PublicKey
	parser *jwt.Parser
}

// OpenVerifier returns a verifier that believes the keys at TOKEN_PUBLIC_KEYS.
func OpenVerifier(env *proc.Env) (*Verifier, error) {
	set := env.Settings()
	text, issuer := set.String(settingPublic), set.String(settingIssuer)
	if err := set.Err(); err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading TOKEN_PUBLIC_KEYS: %w", err)
		}
		key, ok := k.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("TOKEN_PUBLIC_KEYS holds a %T: Ed25519 keys are needed", k)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("TOKEN_PUBLIC_KEYS holds no PEM block")
	}
	return NewVerifier(issuer, keys...), nil
}

// NewVerifier returns a verifier that believes tokens of issuer signed by any of keys.
func NewVerifier(issuer string, keys ...ed25519.PublicKey) *Verifier {
	v := &Verifier{
		keys: make(map[string]ed25519.PublicKey),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
			jwt.WithIssuer(issuer),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(leeway),
		),
	}
	for _, k := range keys {
		v.keys[kid(k)] = k
	}
	return v
}

// Verify returns who the bearer of token is, and until when. Its errors are
// im.Unauthenticated.
func (v *Verifier) Verify(token string) (im.Caller, time.Time, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if key, ok := v.keys[id]; ok {
			return key, nil
		}
		return nil, errors.New("signed with a key that is not known here")
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return im.Caller{}, time.Time{}, &im.Error{Kind: im.Unauthenticated, Msg: "the access token has expired: get a new one with the refresh token", Err: err}
	case err != nil:
		return im.Caller{}, time.Time{}, &im.Error{Kind: im.Unauthenticated, Msg: "the access token is not valid: sign in again", Err: err}
	case !im.IsID(c.Subject) || !im.IsID(c.Session) || im.CheckDevice(c.Device) != nil || im.CheckPlatform(c.Platform) != nil:
		return im.Caller{}, time.Time{}, im.Errorf(im.Unauthenticated, "the access token does not say who, by which session and device: sign in again")
	case c.Scope != nil && *c.Scope == "":
		return im.Caller{}, time.Time{}, im.Errorf(im.Unauthenticated, "the access token is good for nothing")
	}
	who := im.Caller{User: c.Subject, Session: c.Session, Device: c.Device, Platform: c.Platform}
	if c.Scope != nil {
		who.Scope = *c.Scope
	}
	if c.AuthTime != nil {
		who.Proved = im.TimeOf(c.AuthTime.Time)
	}
	return who, c.ExpiresAt.Time, nil
}

// kid names a key by a hash of it, so that rotating needs no names to agree on.
func kid(k ed25519.PublicKey) string {
	h := sha256.Sum256(k)
	return base64.RawURLEncoding.EncodeToString(h[:8])
}
