package imtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// startTime is how long a service may take to start on a busy machine: longer
// than it gives itself, so that it can say what it waits for.
const startTime = 3 * time.Minute

// The services that can be started.
const (
	postgresql = "postgres"
	kafka      = "kafka"
	redis      = "redis"
	mongodb    = "mongodb"
	s3         = "s3"
)

// A Service is a service of a test's own, for tests of faults. It keeps its
// address and its data when it is killed and started again.
type Service struct {
	*Process
	URL  string // as an adapter takes it; of kafka the broker's host:port
	Addr string // host:port
}

// Start starts a service: "kafka", "postgres", "redis", "mongodb" or "s3". args are
// flags of local's command of that name, such as "--fsync". What a PostgreSQL
// acknowledges is on disk; FerretDB's PostgreSQL is the one that tests share.
func Start(t testing.TB, kind string, args ...string) *Service {
	t.Helper()
	if kind == mongodb {
		args = append(args, "--postgres", Postgres(t))
	} else {
		// t.TempDir is closed to the user that PostgreSQL runs as under root.
		dir, err := os.MkdirTemp("", "tidings-"+kind+"-")
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			t.Fatalf("making a folder for %s: %v", kind, err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		args = append(args, "--data", dir)
	}
	if kind == postgresql {
		args = append(args, "--fsync")
	}
	if kind == redis && !slices.Contains(args, "--miniredis") {
		RealRedis(t)
	}
	s := &Service{Addr: fmt.Sprintf("127.0.0.1:%d", FreePort(t))}
	s.Process = run(t, kind, func() (*child.Process, error) {
		p, at, err := serve(kind, append(args, "--addr", s.Addr)...)
		if err != nil {
			return nil, err
		}
		s.URL, s.Addr = at, hostPort(at)
		return p, nil
	})
	return s
}

// hostPort returns the host:port of a URL, or of itself.
func hostPort(at string) string {
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		return u.Host
	}
	return at
}

// serve starts a service and waits until it is ready. It ends when this
// process does.
func serve(kind string, args ...string) (p *child.Process, at string, err error) {
	prog := &services
	if kind == mongodb {
		prog = &ferretdb
	} else {
		args = append([]string{kind}, args...)
	}
	err = prog.use(func(path string) error {
		cmd := exec.Command(path, append(args, "--with-stdin")...)
		if _, err := cmd.StdinPipe(); err != nil { // open as long as the process runs
			return err
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), startTime, fmt.Errorf("it was not ready within %s", startTime))
		defer cancel()
		// SIGTERM, so that it takes its data away. One that is frozen has a guard.
		p, at, err = child.Serve(ctx, cmd, syscall.SIGTERM)
		return err
	})
	return p, at, err
}

// A shared service is started when the first test needs it, and serves all
// tests of this process. Its data is thrown away.
type shared struct {
	kind string
	args func() ([]string, error)

	once sync.Once
	url  string
	err  error
}

func (s *shared) start() (string, error) {
	s.once.Do(func() {
		var args []string
		if s.args != nil {
			if args, s.err = s.args(); s.err != nil {
				return
			}
		}
		_, s.url, s.err = serve(s.kind, append(args, "--addr", "127.0.0.1:0")...)
	})
	return s.url, s.err
}
