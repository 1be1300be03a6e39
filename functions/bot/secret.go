package bot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const (
	// prefix begins the tokens of bots, so that they are known where they
	// should not be: in repositories, in logs.
	prefix = "tdb_"

	secretLen = 32
)

// A secret is what a bot signs in with: 256 random bits, of which only a hash
// is stored; it needs no salt, being random itself.
type secret struct {
	text string
	hash []byte
}

func newSecret() secret {
	var b [secretLen]byte
	rand.Read(b[:]) // never fails
	hash := sha256.Sum256(b[:])
	return secret{prefix + base64.RawURLEncoding.EncodeToString(b[:]), hash[:]}
}

// hashOf returns the hash of a secret, and false if it is none by its form.
func hashOf(text string) ([]byte, bool) {
	text, ok := strings.CutPrefix(text, prefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != secretLen {
		return nil, false
	}
	hash := sha256.Sum256(b)
	return hash[:], true
}
