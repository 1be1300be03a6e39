package migrate

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/webpush"
)

// writeKeys makes the keys that are missing in a folder, each in a file that is
// named as the processes look for it: seal-keys, account-keys,
// token-private-key, token-public-keys, vapid-private-key, vapid-public-key.
// What is there stays.
func writeKeys(dir string) error {
	if err := outsideCheckouts(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	// Of different ids, so that where one has stood in for the other both can be in one list.
	for name, id := range map[string]string{"seal-keys": "k1", "account-keys": "a1"} {
		if err := writeNew(dir, name, func() (string, error) {
			var key [32]byte
			rand.Read(key[:])
			return id + ":" + base64.StdEncoding.EncodeToString(key[:]), nil
		}); err != nil {
			return err
		}
	}
	if err := writeNew(dir, "token-private-key", token.GenerateKey); err != nil {
		return err
	}
	if err := writeNew(dir, "token-public-keys", func() (string, error) {
		private, err := os.ReadFile(filepath.Join(dir, "token-private-key"))
		if err != nil {
			return "", err
		}
		return token.PublicKey(string(private))
	}); err != nil {
		return err
	}
	if err := writeNew(dir, "vapid-private-key", webpush.GenerateKey); err != nil {
		return err
	}
	return writeNew(dir, "vapid-public-key", func() (string, error) {
		private, err := os.ReadFile(filepath.Join(dir, "vapid-private-key"))
		if err != nil {
			return "", err
		}
		return webpush.PublicKey(strings.TrimSpace(string(private)))
	})
}

// outsideCheckouts refuses folders in which git, or the context of a build, would
// pick keys up.
func outsideCheckouts(dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	for ; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return fmt.Errorf("making keys: %s is in a checkout of git (%s): name a folder outside, such as ~/tidings-keys", dir, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// writeNew writes a file whole or not at all. It can be read by who runs as
// another user, as processes in containers do: what protects it is the folder.
func writeNew(dir, name string, text func() (string, error)) error {
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s, err := text()
	if err == nil {
		err = os.WriteFile(file+".new", []byte(strings.TrimSpace(s)+"\n"), 0o444)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", file, err)
	}
	return nil
}
