package vault

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/keyring"
)

func keyOf(id, letter string) string {
	return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, keyring.MinLen)))
}

func open(t *testing.T, keys ...string) *Vault {
	t.Helper()
	v, err := New(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsSealedIsOpenedAsWhatItIsOnly(t *testing.T) {
	v := open(t, keyOf("a", "x"))
	sealed := v.Seal([]byte("secret"), "totp", "ann")
	if got, stale, err := v.Open(sealed, "totp", "ann"); err != nil || stale || string(got) != "secret" {
		t.Errorf("%q, stale %t, %v", got, stale, err)
	}
	if again := v.Seal([]byte("secret"), "totp", "ann"); again == sealed || strings.Contains(sealed, "secret") {
		t.Errorf("sealed as %q, and as %q", sealed, again)
	}
	last := sealed[:len(sealed)-2] + strings.Map(func(r rune) rune {
		if r == 'A' {
			return 'B'
		}
		return 'A'
	}, sealed[len(sealed)-2:])
	for name, tt := range map[string]struct {
		v      *Vault
		sealed string
		of     []string
	}{
		"of another user":           {v, sealed, []string{"totp", "bob"}},
		"of a like list":            {v, sealed, []string{"totpann"}},
		"changed":                   {v, last, []string{"totp", "ann"}},
		"cut":                       {v, sealed[:5], []string{"totp", "ann"}},
		"not sealed":                {v, "secret", []string{"totp", "ann"}},
		"not base64":                {v, "a.&", []string{"totp", "ann"}},
		"under a key that is gone":  {open(t, keyOf("b", "x")), sealed, []string{"totp", "ann"}},
		"under another key of this": {open(t, keyOf("a", "y")), sealed, []string{"totp", "ann"}},
	} {
		if got, _, err := tt.v.Open(tt.sealed, tt.of...); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAHashIsKnownForWhatItIsOnly(t *testing.T) {
	v := open(t, keyOf("a", "x"))
	hash := v.Hash("12345678", "reset", "ann")
	if !v.Is(hash, "12345678", "reset", "ann") {
		t.Error("it is not known")
	}
	if v.Is(hash, "12345679", "reset", "ann") || v.Is(hash, "12345678", "verify", "ann") || v.Is(nil, "12345678", "reset", "ann") ||
		open(t, keyOf("a", "y")).Is(hash, "12345678", "reset", "ann") {
		t.Error("it is known for something else")
	}
}

func TestKeysAreRotated(t *testing.T) {
	old, both, next := open(t, keyOf("a", "x")), open(t, keyOf("b", "y"), keyOf("a", "x")), open(t, keyOf("b", "y"))
	if !both.Is(old.Hash("code"), "code") || !both.Is(next.Hash("code"), "code") || next.Is(old.Hash("code"), "code") {
		t.Error("hashes")
	}
	sealed := old.Seal([]byte("secret"))
	got, stale, err := both.Open(sealed)
	if err != nil || !stale || string(got) != "secret" {
		t.Errorf("%q, stale %t, %v", got, stale, err)
	}
	if got, stale, err = next.Open(both.Seal(got)); err != nil || stale || string(got) != "secret" {
		t.Errorf("sealed anew: %q, stale %t, %v", got, stale, err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for _, keys := range []string{"", "a", "a:", ":" + keyOf("", "x"), "a:?", "a:" + base64.StdEncoding.EncodeToString([]byte("short")), keyOf("a.b", "x"), keyOf("a", "x") + ",b"} {
		if _, err := New(keys); err == nil {
			t.Errorf("%q is taken", keys)
		}
	}
}

func TestCodesAreTypedAsPeopleType(t *testing.T) {
	code := NewCode(8)
	if len(code) != 9 || code[4] != '-' || code == NewCode(8) {
		t.Errorf("%q", code)
	}
	plain := strings.ReplaceAll(code, "-", "")
	for _, typed := range []string{code, plain, strings.ToUpper(code), " " + strings.ReplaceAll(code, "-", " ") + " "} {
		if got, ok := ParseCode(typed, 8); !ok || got != plain {
			t.Errorf("%q is %q, %t", typed, got, ok)
		}
	}
	for _, typed := range []string{"", "-", plain[:7], plain + "a", "abcdefg1", "abcdefg\x00", strings.Repeat("-", 1<<20) + plain} {
		if got, ok := ParseCode(typed, 8); ok {
			t.Errorf("%.20q is %q", typed, got)
		}
	}
}
