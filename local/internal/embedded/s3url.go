package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// NameOfS3 is what S3 starts.
const NameOfS3 = "versitygw"

// bucket is the bucket that the URL of an S3 names. Whoever uses it makes it.
const bucket = "tidings"

// S3URL returns the URL of an S3 that listens at addr and has its data in dir,
// whether it runs or not. Its secret key is made if there is none.
func S3URL(addr, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the data folder: %w", err)
	}
	at, _, err := s3URL(addr, dir)
	return at, err
}

func s3URL(addr, dir string) (at, secret string, err error) {
	secret, err = keptSecret(filepath.Join(dir, "secret-key"))
	if err != nil {
		return "", "", fmt.Errorf("the secret key of versitygw: %w", err)
	}
	u := url.URL{Scheme: "http", User: url.UserPassword(database, secret), Host: addr, Path: "/" + bucket}
	return u.String(), secret, nil
}

// keptSecret returns what the file holds; if there is none, what is made now.
func keptSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	secret := rand.Text()
	return secret, os.WriteFile(file, []byte(secret), 0o600)
}
