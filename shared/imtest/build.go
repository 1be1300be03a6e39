package imtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Build compiles a program of this checkout and returns where a copy of it is,
// which nobody compiles anew as long as the test runs. pkg is its folder from the
// top, such as "cmd/tidings". It is linked once for all test processes.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(pkg))
	p := program{pkg: pkg}
	if err := p.use(func(path string) error { return copyProgram(path, out) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// copyProgram copies by another process: what is forked while this one writes
// would keep the copy open, and an open file cannot be started.
func copyProgram(path, to string) error {
	if said, err := exec.Command("cp", path, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w\n%s", path, err, bytes.TrimSpace(said))
	}
	return nil
}

func build(top, pkg, out string) error {
	dir := top
	// Without what debuggers read they are linked in two thirds of the time.
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", out)
	cmd.Env = os.Environ()
	switch {
	case pkg == "local/ferretdb": // a module outside the workspace, of which PostgreSQL is all that is needed
		dir, pkg = filepath.Join(top, pkg), "."
		cmd.Env = append(cmd.Env, "GOWORK=off")
		cmd.Args = append(cmd.Args, "-tags=ferretdb_no_sqlite")
	case pkg == "local/oidc": // another
		dir, pkg = filepath.Join(top, pkg), "."
		cmd.Env = append(cmd.Env, "GOWORK=off")
	case pkg == "local" || strings.HasPrefix(pkg, "local/"):
		dir, pkg = filepath.Join(top, "local"), "."+strings.TrimPrefix(pkg, "local")
	default:
		pkg = "./" + pkg
	}
	cmd.Dir = dir
	cmd.Args = append(cmd.Args, pkg)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", pkg, dir, err, bytes.TrimSpace(said))
	}
	return nil
}

// A program is a binary in the cache, shared by the test processes of this
// checkout. Whoever builds it holds its lock alone, whoever starts it holds it
// with others, so that no half-written one is ever started.
type program struct {
	pkg string

	once sync.Once
	path string
	err  error
}

var (
	services = program{pkg: "local/services"}
	ferretdb = program{pkg: "local/ferretdb"}
	oidc     = program{pkg: "local/oidc"}
)

// use builds the program if that is not done yet and calls start with the path
// of the binary, which is there at least until start returns.
func (p *program) use(start func(path string) error) error {
	p.once.Do(func() { p.err = p.build() })
	if p.err != nil {
		return p.err
	}
	unlock, err := lock(p.path+".lock", syscall.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	return start(p.path)
}

func (p *program) build() error {
	top, err := checkout()
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256([]byte(top))
	dir := filepath.Join(cache, "tidings-test", hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a cache for binaries: %w", err)
	}
	p.path = filepath.Join(dir, strings.ReplaceAll(p.pkg, "/", "-"))
	unlock, err := lock(p.path+".lock", syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	return build(top, p.pkg, p.path)
}

func lock(file string, how int) (unlock func() error, err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", file, err)
	}
	return f.Close, nil
}

var productModule = regexp.MustCompile(`(?m)^module github\.com/tidings-im/tidings$`)

// checkout returns the top folder of the checkout that the test runs in.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && productModule.Match(mod) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("the test runs outside a checkout of Tidings, where its services are built from")
		}
		dir = up
	}
}
