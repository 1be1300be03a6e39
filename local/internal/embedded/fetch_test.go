package embedded

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// without returns a service as it starts where no PostgreSQL is installed and
// cache is what the user has fetched so far.
func without(cache, name string, args ...string) *exec.Cmd {
	cmd := command(name, args...)
	cmd.Env = append(cmd.Env, "NO_POSTGRES=1", "PATH=", "HOME="+cache, "XDG_CACHE_HOME="+filepath.Join(cache, "cache"))
	cmd.Dir = cache // npm's would be found from here
	return cmd
}

// Two first starts at the same time, as two people do or the tests of two
// packages. Where there is no network this is a test of what they say then.
func TestPostgresIsFetchedWhereNoneIsInstalled(t *testing.T) {
	cache := folder(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var both sync.WaitGroup
	var errs [2]error
	for i := range errs {
		both.Go(func() {
			p, at, err := child.Serve(ctx, without(cache, "postgres", "--addr", "127.0.0.1:0"), syscall.SIGTERM)
			if errs[i] = err; err != nil {
				return
			}
			t.Cleanup(p.Kill)
			conn, err := pgx.Connect(ctx, at)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(ctx)
			var version string
			if err := conn.QueryRow(ctx, "show server_version").Scan(&version); err != nil || !strings.HasPrefix(fetchedVersion, version) {
				t.Errorf("it is PostgreSQL %s, %v", version, err)
			}
		})
	}
	both.Wait()
	if errs[0] != nil && strings.Contains(errs[0].Error(), "cannot be fetched") {
		t.Log("NOT EXERCISED: fetching PostgreSQL, for which there is no network here")
		if !strings.Contains(errs[0].Error(), "apt-get install postgresql") {
			t.Errorf("without a network it says %v", errs[0])
		}
		return
	}
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		return
	}
	at, err := filepath.Glob(filepath.Join(cache, "cache", "tidings", "postgresql-*", "bin"))
	if err != nil || len(at) != 1 {
		t.Fatalf("it is kept in %v, %v", at, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "cache", "tidings", "*.new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("there is left %v, %v", left, err)
	}
}

func TestWhatIsNotTheArchiveIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(name, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for platform, sum := range archives {
		if err := isArchive(name, sum); err == nil || !strings.Contains(err.Error(), "is not PostgreSQL") {
			t.Errorf("for %s: %v", platform, err)
		}
	}
	const itsOwn = "f41f3fa625ff120ddca7ef456bf66371ecea23c129f4e4c32367101edb516cf8" // by sha256sum
	if err := isArchive(name, itsOwn); err != nil {
		t.Errorf("what has the sum that it should: %v", err)
	}
}
