// Package keyring reads settings that hold keys. It does not know what they are
// for.
package keyring

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// MinLen is the fewest bytes of a key.
const MinLen = 32

// A Key is one, and the name by which what was made with it says so.
type Key struct {
	ID     string // without dots
	Secret []byte
}

// Parse reads "<id>:<base64>,<id>:<base64>…": one key at least.
func Parse(s string) ([]Key, error) {
	var keys []Key
	for part := range strings.SplitSeq(s, ",") {
		id, secret, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok || id == "" || strings.Contains(id, ".") {
			return nil, errors.New("a key is written <id>:<base64>, and its id holds no dot")
		}
		b, err := base64.StdEncoding.DecodeString(secret)
		if err != nil || len(b) < MinLen {
			return nil, fmt.Errorf("key %s is not %d bytes or more in base64 (openssl rand -base64 32)", id, MinLen)
		}
		keys = append(keys, Key{id, b})
	}
	return keys, nil
}
