package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	bigendian "encoding/binary"
	"fmt"
	"testing"
	"time"
)

// totp returns the code that an authenticator app shows at a time (RFC 6238,
// with SHA-1, six digits and steps of 30 s).
func totp(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatalf("the secret %q: %v", secret, err)
	}
	mac := hmac.New(sha1.New, key)
	bigendian.Write(mac, bigendian.BigEndian, at.Unix()/30) // a hash never fails
	sum := mac.Sum(nil)
	n := bigendian.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// secondFactor returns the code that who asks about themselves reads off their
// app now.
func (s *society) secondFactor() string {
	s.t.Helper()
	if s.secret == "" {
		return "000000"
	}
	return totp(s.t, s.secret, time.Now())
}
