package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

var ann = im.Caller{User: "aaaaaaaaaaaaaaaa", Session: "ssssssssssssssss", Device: "phone", Platform: "ios"}

func pair(t testing.TB) (*Issuer, *Verifier) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewIssuer(priv, "tidings", 15*time.Minute), NewVerifier("tidings", pub)
}

func TestATokenSaysWhoItsBearerIs(t *testing.T) {
	i, v := pair(t)
	s, expires, err := i.Issue(ann)
	if err != nil {
		t.Fatal(err)
	}
	got, until, err := v.Verify(s)
	if err != nil || got != ann || !until.Equal(expires) {
		t.Errorf("%+v until %s, %v", got, until, err)
	}
	if d := time.Until(expires); d < 14*time.Minute || d > 15*time.Minute {
		t.Errorf("good for %s", d)
	}
}

func TestP6AFalseTokenIsNotBelieved(t *testing.T) {
	i, v := pair(t)
	stranger, _ := pair(t)
	sign := func(i *Issuer, c im.Caller) string {
		s, _, err := i.Issue(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := sign(i, ann)
	parts := strings.Split(good, ".")
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims{}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	pub := i.key.Public().(ed25519.PublicKey)
	hs := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{RegisteredClaims: jwt.RegisteredClaims{Issuer: "tidings", Subject: ann.User}})
	hs.Header["kid"] = i.kid
	confused, err := hs.SignedString([]byte(pub))
	if err != nil {
		t.Fatal(err)
	}
	old := *i
	old.now = func() time.Time { return time.Now().Add(-time.Hour) }
	future := *i
	future.now = func() time.Time { return time.Now().Add(time.Hour) }
	elsewhere := *i
	elsewhere.issuer = "elsewhere"
	for name, s := range map[string]string{
		"empty":                      "",
		"no token":                   "x.y.z",
		"of a stranger":              sign(stranger, ann),
		"of a stranger with our kid": sign(&Issuer{key: stranger.key, kid: i.kid, issuer: "tidings", ttl: time.Hour, now: time.Now}, ann),
		"with other claims":          parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"bbbbbbbbbbbbbbbb"}`)) + "." + parts[2],
		"without its signature":      parts[0] + "." + parts[1] + ".",
		"of algorithm none":          none,
		"signed with the public key": confused,
		"expired":                    sign(&old, ann),
		"of the future":              sign(&future, ann),
		"of another issuer":          sign(&elsewhere, ann),
		"of nobody":                  sign(i, im.Caller{Session: ann.Session, Device: "d", Platform: "web"}),
		"of no session":              sign(i, im.Caller{User: ann.User, Device: "d", Platform: "web"}),
		"of a platform that is none": sign(i, im.Caller{User: ann.User, Session: ann.Session, Device: "d", Platform: "fridge"}),
	} {
		if c, _, err := v.Verify(s); !errors.Is(err, im.Unauthenticated) || c != (im.Caller{}) {
			t.Errorf("a token %s: %+v, %v", name, c, err)
		}
	}
	if _, _, err := v.Verify(sign(&old, ann)); !strings.Contains(err.Error(), "refresh") {
		t.Errorf("an expired token does not say what to do: %v", err)
	}
}

func TestKeysRotate(t *testing.T) {
	a, _ := pair(t)
	b, _ := pair(t)
	v := NewVerifier("tidings", a.key.Public().(ed25519.PublicKey), b.key.Public().(ed25519.PublicKey))
	for _, i := range []*Issuer{a, b} {
		s, _, err := i.Issue(ann)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := v.Verify(s); err != nil {
			t.Error(err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i, v := pair(f)
	s, _, err := i.Issue(ann)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, in string) {
		c, _, err := v.Verify(in)
		if err == nil && c != ann {
			t.Errorf("%q is a token of %+v", in, c)
		}
		if err != nil && !errors.Is(err, im.Unauthenticated) {
			t.Errorf("error of kind %s: %v", im.KindOf(err), err)
		}
	})
}

// Whoever is signed out is known for MaxTTL and some more to be.
func TestP6NoTokenOutlivesWhatIsRememberedOfItsSession(t *testing.T) {
	for ttl, ok := range map[string]bool{"15m": true, "24h": true, "24h1s": false, "720h": false} {
		_, err := OpenIssuer(imtest.Env(t, map[string]string{"TOKEN_PRIVATE_KEY": "x", "TOKEN_TTL": ttl}))
		if refused := err != nil && strings.Contains(err.Error(), "TOKEN_TTL"); refused == ok {
			t.Errorf("TOKEN_TTL=%s: %v", ttl, err)
		}
	}
}
