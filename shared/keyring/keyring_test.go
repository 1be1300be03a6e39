package keyring

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestKeysAreRead(t *testing.T) {
	secret := func(b byte, n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, n)) }
	keys, err := Parse("b:" + secret(2, MinLen) + ", a:" + secret(1, 40))
	if err != nil || len(keys) != 2 || keys[0].ID != "b" || keys[0].Secret[31] != 2 || keys[1].ID != "a" || len(keys[1].Secret) != 40 {
		t.Errorf("%v, %v", keys, err)
	}
	for _, s := range []string{"", "a", "a:", ":" + secret(1, MinLen), "a:!!", "a:" + secret(1, MinLen-1), "a.b:" + secret(1, MinLen), "a:" + secret(1, MinLen) + ","} {
		if keys, err := Parse(s); err == nil || strings.Contains(err.Error(), secret(1, MinLen)) {
			t.Errorf("%q: %v, %v", s, keys, err)
		}
	}
}
