package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/keyring"
)

// A Keyring seals events between our own parts and tells a true seal from a
// false one. A seal is an HMAC-SHA256 over id, type, source, subject and data,
// written "<key id>.<base64url>". It is safe for concurrent use.
type Keyring struct {
	sign string   // id of the key that seals
	ids  []string // of all, as they were given
	keys map[string]*key
}

type key struct{ pool sync.Pool }

// ParseKeyring reads keys as keyring.Parse does. The first seals, all of them
// are believed: to rotate, put a new key second everywhere, then first
// everywhere, then take the old one away.
func ParseKeyring(s string) (*Keyring, error) {
	given, err := keyring.Parse(s)
	if err != nil {
		return nil, err
	}
	k := &Keyring{sign: given[0].ID, keys: make(map[string]*key)}
	for _, g := range given {
		if k.keys[g.ID] != nil {
			return nil, fmt.Errorf("key %s is there twice", g.ID)
		}
		k.keys[g.ID] = &key{pool: sync.Pool{New: func() any { return hmac.New(sha256.New, g.Secret) }}}
		k.ids = append(k.ids, g.ID)
	}
	return k, nil
}

// Sign seals e.
func (k *Keyring) Sign(e *Event) { e.Seal = k.seal(k.sign, e) }

// Seals returns the seals of e by each key that is believed, that of Sign first.
func (k *Keyring) Seals(e *Event) []string {
	seals := make([]string, len(k.ids))
	for i, id := range k.ids {
		seals[i] = k.seal(id, e)
	}
	return seals
}

func (k *Keyring) seal(id string, e *Event) string {
	var sum [sha256.Size]byte
	return id + "." + base64.RawURLEncoding.EncodeToString(k.keys[id].sum(e, sum[:0]))
}

// Verify reports whether e was sealed by one of us.
func (k *Keyring) Verify(e *Event) error {
	id, mac, ok := strings.Cut(e.Seal, ".")
	if !ok {
		return im.Errorf(im.Denied, "the event is not sealed: only parts of this system may send it")
	}
	key := k.keys[id]
	if key == nil {
		return im.Errorf(im.Denied, "the event is sealed with a key that is not known here")
	}
	var sum, got [sha256.Size]byte
	if len(mac) == base64.RawURLEncoding.EncodedLen(len(got)) {
		if _, err := base64.RawURLEncoding.Decode(got[:], []byte(mac)); err != nil {
			mac = ""
		}
	} else {
		mac = ""
	}
	if mac == "" || !hmac.Equal(got[:], key.sum(e, sum[:0])) {
		return im.Errorf(im.Denied, "the seal of the event is false")
	}
	return nil
}

func (k *key) sum(e *Event, b []byte) []byte {
	h := k.pool.Get().(hash.Hash)
	defer k.pool.Put(h)
	h.Reset()
	// Each field is preceded by its length, so that no two events run together.
	buf := make([]byte, 0, 256)
	for _, s := range [...]string{e.ID, e.Type, e.Source, e.Subject} {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	h.Write(buf)
	h.Write(e.Data)
	return h.Sum(b)
}
