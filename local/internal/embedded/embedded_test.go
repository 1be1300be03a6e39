package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// The test binary is the program under test too: each service is started as
// the user starts it.
func TestMain(m *testing.M) {
	if name := os.Getenv("RUN_SERVICE"); name != "" {
		if os.Getenv("NO_POSTGRES") != "" {
			Packaged = nil
		}
		run := func(args []string) error { return Command(name, args) }
		if len(os.Args) > 1 && os.Args[1] == FetchName {
			run = func(args []string) error { return FetchCommand(args[1:]) }
		}
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_SERVICE="+name)
	return cmd
}

func serve(t *testing.T, name string, args ...string) (*child.Process, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, at, err := child.Serve(ctx, command(name, args...), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, at
}

// folder returns a folder that the user PostgreSQL runs as can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedded-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestServicesAnswerAndEndOnSIGTERM(t *testing.T) {
	for _, test := range []struct {
		service string
		flags   []string
	}{
		{"kafka", nil},
		{"kafka", []string{"--fsync"}},
		{"postgres", nil},
		{"redis", nil},
		{"redis", []string{"--miniredis"}},
		{"s3", nil},
	} {
		t.Run(test.service+strings.Join(test.flags, " "), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			p, at := serve(t, test.service, append(test.flags, "--addr", "127.0.0.1:0", "--data", dir)...)
			if u, err := url.Parse(at); err == nil && u.Host != "" {
				at = u.Host
			}
			conn, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatalf("it is ready and does not answer: %v", err)
			}
			conn.Close()
			below := child.Tree(p.Pid)
			if p.Stop(syscall.SIGTERM, time.Minute) {
				t.Fatalf("it did not end by itself\n%s", p.Said())
			}
			if p.Err() != nil {
				t.Errorf("it ended with %v\n%s", p.Err(), p.Said())
			}
			for _, pid := range below {
				if child.CommandLine(pid) != "" {
					t.Errorf("process %d outlived it: %s", pid, child.CommandLine(pid))
				}
			}
		})
	}
}

func TestServicesOfAKilledParentEndAndTheDataIsThereAgain(t *testing.T) {
	for _, service := range []string{"postgres", "redis", "kafka", "s3"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			p, at := serve(t, service, "--addr", "127.0.0.1:0", "--data", dir)
			below := child.Tree(p.Pid)
			// Only the parent, as when somebody kills it: its children are to notice.
			p.Signal(syscall.SIGKILL)
			<-p.Done()
			again, _ := serve(t, service, "--addr", hostPort(at), "--data", dir)
			for _, pid := range below {
				if child.CommandLine(pid) != "" {
					t.Errorf("process %d is still there: %s", pid, child.CommandLine(pid))
				}
			}
			if again.Stop(syscall.SIGTERM, 20*time.Second) {
				t.Error("after that it does not end on SIGTERM")
			}
		})
	}
}

func hostPort(at string) string {
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		return u.Host
	}
	return at
}

func TestAPostmasterThatAnotherRunLeftIsStopped(t *testing.T) {
	dir := folder(t)
	ctx := t.Context()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	old, err := Postgres(ctx, Config{Addr: "127.0.0.1:0", Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.stop(); err != nil { // gives the folder back and leaves the process running
		t.Fatal(err)
	}
	s, err := Postgres(ctx, Config{Addr: "127.0.0.1:0", Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	select {
	case <-old.Done():
	default:
		t.Error("two PostgreSQL work on the same data")
	}
}

func TestAStalePostmasterPidKeepsNothingFromStarting(t *testing.T) {
	dir := folder(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	conf := Config{Addr: "127.0.0.1:0", Dir: dir, Log: log}
	s, err := Postgres(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// After the machine restarted the id may be that of any other program.
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	data, _ := filepath.Glob(filepath.Join(dir, "postgresql-*"))
	if err := os.WriteFile(filepath.Join(data[0], "postmaster.pid"), []byte(strconv.Itoa(other.Process.Pid)+"\n"+data[0]+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err = Postgres(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if child.CommandLine(other.Process.Pid) == "" {
		t.Error("it ended a program that is not PostgreSQL")
	}
}

// Under root PostgreSQL runs as another user, who cannot reach a folder of mode
// 0700; everybody else runs it as themselves.
func TestPostgresKeepsItsDataWhereItsUserCanReachIt(t *testing.T) {
	root := os.Getuid() == 0
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(private, "data")
	conf := Config{Addr: "127.0.0.1:0", Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for start := range 2 {
		s, err := Postgres(t.Context(), conf)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		conn, err := pgx.Connect(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Exec(t.Context(), "create table if not exists a (b int); insert into a values (1)")
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(t.Context(), "select count(*) from a").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != start+1 {
			t.Errorf("after start %d there are %d rows", start+1, n)
		}
		if strings.HasPrefix(s.Dir, dir) == root {
			t.Errorf("it says that its data is in %s", s.Dir)
		}
		conn.Close(t.Context())
		stranger, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		stranger.User = url.User(stranger.User.Username())
		if conn, err := pgx.Connect(t.Context(), stranger.String()); err == nil {
			t.Error("it lets in any user of the machine")
			conn.Close(t.Context())
		}
		s.Close()
	}
	moved, err := os.ReadFile(filepath.Join(dir, "moved-to"))
	if (err == nil) != root {
		t.Errorf("a note of where it went: %v", err)
	}
	if err == nil {
		os.RemoveAll(strings.TrimSpace(string(moved)))
	}
}

func TestWhatCannotBeListenedOnIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct{ name, addr, want string }{
		{"an address for everybody", "0.0.0.0:9092", "loopback"},
		{"no host", ":9092", "loopback"},
		{"no port", "127.0.0.1", "missing port"},
		{"a port that is taken", taken.Addr().String(), "address already in use"},
	} {
		for service := range Services {
			t.Run(test.name+" for "+service, func(t *testing.T) {
				out, err := command(service, "--addr", test.addr).CombinedOutput()
				if err == nil || !strings.Contains(string(out), test.want) {
					t.Errorf("got %v: %s", err, out)
				}
			})
		}
	}
}

func TestTwoDoNotWorkOnTheSameData(t *testing.T) {
	dir := folder(t)
	serve(t, "kafka", "--addr", "127.0.0.1:0", "--data", dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it does not wait
	_, err := Kafka(ctx, Config{Addr: "127.0.0.1:0", Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
}

// What was written is there, under the same keys, in the folder that was named
// by a relative path.
func TestAnS3KeepsItsObjectsAndItsKeys(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	var first string
	for range 2 {
		p, at := serve(t, "s3", "--addr", "127.0.0.1:0", "--data", "objects")
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = u.User.String()
			if err := os.Mkdir(filepath.Join(dir, "objects", "objects", "kept"), 0o700); err != nil { // as versitygw keeps a bucket
				t.Fatal(err)
			}
		} else if u.User.String() != first {
			t.Error("after a restart the keys are others")
		}
		if before, err := S3URL(u.Host, "objects"); err != nil || before != at {
			t.Errorf("its URL is %s, and is said to be %s before it runs, %v", at, before, err)
		}
		resp, err := http.Get("http://" + u.Host + "/kept")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("anybody is answered %s", resp.Status)
		}
		if p.Stop(syscall.SIGTERM, 30*time.Second) {
			t.Error("it does not end")
		}
		if _, err := net.Dial("tcp", u.Host); err == nil {
			t.Error("ended, it still listens")
		}
	}
}

func TestThrowawayDataIsGoneWhenTheParentIs(t *testing.T) {
	cmd := command("kafka", "--addr", "127.0.0.1:0", "--with-stdin")
	cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("it said %q, %v", line, err)
	}
	tmp := strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "TMPDIR=")
	if left, _ := os.ReadDir(tmp); len(left) != 1 {
		t.Errorf("while it runs there are %v", left)
	}
	in.Close()
	out.Close() // as if the parent had died
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestMiniredisLetsTimeGoBy(t *testing.T) {
	s, err := Miniredis(t.Context(), Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	opt, err := redis.ParseURL(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opt)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := client.Set(ctx, "a", 1, 500*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	err = poll(ctx, func(ctx context.Context) error {
		n, err := client.Exists(ctx, "a").Result()
		if err == nil && n > 0 {
			err = errors.New("a key that lives 0.5 s is still there")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
