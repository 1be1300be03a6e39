// Package vault keeps small secrets of users: it encrypts those that have to
// be read again and hashes those that only have to be known again, under keys
// that are not in the database. It does not know what they are for, nor where
// they are stored.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tidings-im/tidings/shared/keyring"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingKeys  = proc.Setting{Name: "ACCOUNT_KEYS", Secret: true, Doc: "keys that encrypt what has to be read again (secrets of second factors, of webhooks) and hash mailed codes, <id>:<base64 of at least 32 bytes>, separated by commas; the first is used, all are believed. Unset, SEAL_KEYS serve for it: see there before one of those is taken away"}
	settingSeals = proc.Setting{Name: "SEAL_KEYS", Need: true, Secret: true, Doc: "keys that seal events between the parts, <id>:<base64 of at least 32 bytes>, separated by commas; the first seals, all are believed"}
)

// A Vault encrypts and hashes. It is safe for concurrent use.
type Vault struct {
	keys []key // the first is used, all are believed
}

type key struct {
	id  string
	box cipher.AEAD
	mac []byte
}

// Open returns the process's vault.
func Open(env *proc.Env) (*Vault, error) {
	return proc.Share(env, "vault", func() (*Vault, func() error, error) {
		set := env.Settings()
		from, keys := settingKeys, set.String(settingKeys)
		if keys == "" {
			from, keys = settingSeals, set.String(settingSeals)
		}
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		v, err := New(keys)
		if err != nil {
			return nil, nil, fmt.Errorf("setting %s: %w", from.Name, err)
		}
		return v, nil, nil
	})
}

// New returns a vault of keys as keyring.Parse reads them. To rotate, put a new
// key second everywhere, then first everywhere, then take the old one away once
// nothing is kept under it.
func New(keys string) (*Vault, error) {
	given, err := keyring.Parse(keys)
	if err != nil {
		return nil, err
	}
	v := &Vault{}
	for _, g := range given {
		k := key{id: g.ID}
		// Keys of their own for each use (RFC 5869), so that the same setting
		// may serve for something else.
		enc, err := hkdf.Key(sha256.New, g.Secret, nil, "tidings vault encryption", 32)
		if err != nil {
			return nil, err
		}
		if k.mac, err = hkdf.Key(sha256.New, g.Secret, nil, "tidings vault hash", 32); err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(enc)
		if err != nil {
			return nil, err
		}
		if k.box, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
		v.keys = append(v.keys, k)
	}
	return v, nil
}

// Seal encrypts a secret (AES-256-GCM). Of says what it is of: it can be opened
// as that only.
func (v *Vault) Seal(secret []byte, of ...string) string {
	k := v.keys[0]
	return k.id + "." + base64.RawURLEncoding.EncodeToString(k.box.Seal(nil, nil, secret, joined(of)))
}

// Open decrypts what Seal encrypted. Stale says that it was under another key
// than Seal uses now.
func (v *Vault) Open(sealed string, of ...string) (secret []byte, stale bool, err error) {
	id, text, ok := strings.Cut(sealed, ".")
	if !ok {
		return nil, false, errors.New("a stored secret was not sealed here")
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false, fmt.Errorf("reading a stored secret: %w", err)
	}
	for i, k := range v.keys {
		if k.id != id {
			continue
		}
		if secret, err = k.box.Open(nil, nil, b, joined(of)); err != nil {
			return nil, false, fmt.Errorf("opening a stored secret: %w", err)
		}
		return secret, i > 0, nil
	}
	return nil, false, fmt.Errorf("a stored secret is under key %q, which is not set here", id)
}

// Hash returns what is stored to know a secret again (HMAC-SHA-256).
func (v *Vault) Hash(secret string, of ...string) []byte {
	return v.keys[0].hash(secret, of)
}

// Is reports whether a hash is that of a secret.
func (v *Vault) Is(hash []byte, secret string, of ...string) bool {
	for _, k := range v.keys {
		if hmac.Equal(hash, k.hash(secret, of)) {
			return true
		}
	}
	return false
}

func (k key) hash(secret string, of []string) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(joined(of))
	h.Write([]byte(secret))
	return h.Sum(nil)
}

// joined returns parts, each preceded by its length, so that no two lists of
// them are the same.
func joined(parts []string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(parts)))
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// alphabet is base32's (RFC 4648): no letter in it looks like another, or like
// a digit.
const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// groupLen is how many letters of a code stand together.
const groupLen = 4

// NewCode returns n random letters and digits, five bits each, for people to
// type: in groups of four.
func NewCode(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	var code strings.Builder
	for i, c := range b {
		if i > 0 && i%groupLen == 0 {
			code.WriteByte('-')
		}
		code.WriteByte(alphabet[c%32])
	}
	return code.String()
}

// ParseCode returns a code as it is hashed, whether it was typed with or
// without hyphens and spaces, in capitals or not; false if it is none of n.
func ParseCode(typed string, n int) (string, bool) {
	if len(typed) > 4*n {
		return "", false
	}
	code := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(typed))
	if len(code) != n || strings.Trim(code, alphabet) != "" {
		return "", false
	}
	return code, true
}
