package imtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// OIDCUser is somebody who can sign in at a provider of OpenID Connect.
type OIDCUser struct {
	ID            string
	Username      string
	Password      string
	FirstName     string
	Email         string
	EmailVerified bool
}

// OIDC starts a provider of OpenID Connect that ends with the test, and returns
// its issuer. Its one client is called tidings, with the secret "secret". Users
// come back to one of redirects.
func OIDC(t testing.TB, users []OIDCUser, redirects ...string) string {
	t.Helper()
	of := map[string]OIDCUser{}
	for _, u := range users {
		of[u.ID] = u
	}
	file := filepath.Join(t.TempDir(), "users.json")
	b, err := json.Marshal(of)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var issuer string
	err = oidc.use(func(path string) error {
		cmd := exec.Command(path, "--users", file, "--redirects", strings.Join(redirects, ","), "--with-stdin")
		if _, err := cmd.StdinPipe(); err != nil { // open as long as the process runs
			return err
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), startTime, fmt.Errorf("it was not ready within %s", startTime))
		defer cancel()
		p, at, err := child.Serve(ctx, cmd, syscall.SIGTERM)
		if err == nil {
			issuer = at
			t.Cleanup(func() { p.Stop(syscall.SIGTERM, 10*time.Second) })
		}
		return err
	})
	if err != nil {
		t.Fatalf("starting a provider of OpenID Connect: %v", err)
	}
	return issuer
}
