package migrate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/vault"
	"github.com/tidings-im/tidings/shared/webpush"
)

func TestKeysAreNotMadeInACheckout(t *testing.T) {
	checkout := t.TempDir()
	if err := os.Mkdir(filepath.Join(checkout, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{checkout, filepath.Join(checkout, "keys"), filepath.Join(checkout, "a", "b")} {
		if err := writeKeys(dir); err == nil {
			t.Errorf("keys are made in %s", dir)
		}
	}
	if left, _ := os.ReadDir(checkout); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
}

func TestTheKeysThatAreMadeWorkAndStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	vars := map[string]string{
		"TOKEN_PRIVATE_KEY_FILE": filepath.Join(dir, "token-private-key"),
		"TOKEN_PUBLIC_KEYS_FILE": filepath.Join(dir, "token-public-keys"),
	}
	var before string
	for range 2 {
		if err := writeKeys(dir); err != nil {
			t.Fatal(err)
		}
		seals, err := os.ReadFile(filepath.Join(dir, "seal-keys"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.ParseKeyring(string(seals[:len(seals)-1])); err != nil {
			t.Error(err)
		}
		vars["ACCOUNT_KEYS_FILE"] = filepath.Join(dir, "account-keys")
		if _, err := vault.Open(imtest.Env(t, vars)); err != nil {
			t.Error(err)
		}
		issuer, err := token.OpenIssuer(imtest.Env(t, vars))
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := token.OpenVerifier(imtest.Env(t, vars))
		if err != nil {
			t.Fatal(err)
		}
		jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := verifier.Verify(jwt); err != nil {
			t.Error(err)
		}
		for name, setting := range map[string]string{"vapid-private-key": "VAPID_PRIVATE_KEY", "vapid-public-key": "VAPID_PUBLIC_KEY"} {
			vars[setting+"_FILE"] = filepath.Join(dir, name)
		}
		if sender, err := webpush.Open(imtest.Env(t, vars)); err != nil || sender == nil {
			t.Errorf("Web Push by these keys: %v, %v", sender, err)
		}
		if before != "" && before != string(seals) {
			t.Error("keys that were there were made anew")
		}
		before = string(seals)
	}
}
