package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// fetched is the PostgreSQL that is fetched where none is installed.
const (
	fetchedMajor   = 18
	fetchedVersion = "18.6.0"
)

// archives are the SHA-256 sums of its archives, by platform. They are those of
// the project zonkyio/embedded-postgres-binaries, as Maven's central repository
// had them on 2026-11-30.
var archives = map[string]string{
	"linux-amd64":        "63999c2914366d62c68e51794e597588c336e75ed2958d53c558e8deca5e13fc",
	"linux-arm64":        "2eb24d67326da41a81064d116b0bce412dff543c835d6fcc1c099e4abcf18836",
	"linux-amd64-alpine": "d9bba3fa653ad08f5e92303587451ed6d1ca4883afb377773630ae853d40121f",
	"darwin-amd64":       "f4db5df0b13e3e72149c0547ccd1eee177cfe67accb8c296e8d0e46ef3601f01",
	"darwin-arm64":       "f4db5df0b13e3e72149c0547ccd1eee177cfe67accb8c296e8d0e46ef3601f01",
}

// platform returns what this machine is called in archives.
func platform() string {
	p := runtime.GOOS + "-" + runtime.GOARCH
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		p += "-alpine"
	}
	return p
}

// fetchedAt returns where the fetched PostgreSQL is kept: in the user's cache,
// for all checkouts, or, if the user it runs as cannot get there, in the
// system's.
func fetchedAt(as *syscall.Credential) (string, error) {
	cache, err := os.UserCacheDir()
	if err == nil {
		err = os.MkdirAll(cache, 0o755)
	}
	if as != nil && (err != nil || !traversable(cache)) {
		cache, err = "/var/cache", nil
	}
	if err != nil {
		return "", fmt.Errorf("finding the folder for what is fetched: %w", err)
	}
	return filepath.Join(cache, "tidings", "postgresql-"+fetchedVersion+"-"+platform()), nil
}

// fetch fetches PostgreSQL and returns the folder of its programs. What has been
// fetched before is not fetched again. Progress goes to c.Progress.
//
// This program does it as another process, by FetchCommand: the library that
// knows how cannot be told to stop, and shares what it reads by with all of its
// process.
func fetch(ctx context.Context, c Config, as *syscall.Credential) (bin string, err error) {
	dir, err := fetchedAt(as)
	if err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "bin")
	if len(usable(nil, []string{bin})) > 0 {
		return bin, nil
	}
	if archives[platform()] == "" {
		return "", fmt.Errorf("none is to be had for %s either", platform())
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("making the folder for what is fetched: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(self, FetchName, dir)
	if _, err := cmd.StdinPipe(); err != nil { // open as long as this process runs
		return "", err
	}
	if cmd.Stderr = c.Progress; c.Progress == nil {
		cmd.Stderr = &logLines{log: c.Log, service: "postgresql"}
	}
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return "", context.Cause(ctx)
	}
	if p.Err() != nil {
		said := p.Said()
		return "", errors.New(said[strings.LastIndexAny(said, "\r\n")+1:])
	}
	return bin, nil
}

// FetchName is the argument on which a program that starts PostgreSQL is to run
// FetchCommand.
const FetchName = "fetch-postgres"

// FetchCommand fetches PostgreSQL into the folder that is its argument, which
// is there whole or not at all. It ends when stdin does.
func FetchCommand(args []string) error {
	f := flag.NewFlagSet(FetchName, flag.ContinueOnError)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("usage: %s <folder>", FetchName)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	dir, err := filepath.Abs(f.Arg(0))
	if err != nil {
		return err
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if len(usable(nil, []string{filepath.Join(dir, "bin")})) > 0 {
		return nil // another has fetched it meanwhile
	}
	return unpack(dir)
}

func lockFile(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking: %w", err)
	}
	return f.Close, nil
}

// unpack fetches the archive, checks it and puts what is in it into dir.
func unpack(dir string) error {
	syscall.Umask(0o022) // another user may run it
	part, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(part)
	through := http.DefaultTransport.(*http.Transport).Clone()
	through.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	through.ResponseHeaderTimeout = stalled
	http.DefaultClient = &http.Client{Transport: &progress{through: through, to: os.Stderr, what: "PostgreSQL " + fetchedVersion}}
	if err := download(part); err != nil {
		return err
	}
	programs := filepath.Join(part, "programs")
	if err := os.Chmod(programs, 0o755); err != nil {
		return fmt.Errorf("opening what was fetched to others: %w", err)
	}
	if len(usable(nil, []string{filepath.Join(programs, "bin")})) == 0 {
		out, err := exec.Command(filepath.Join(programs, "bin", "postgres"), "--version").CombinedOutput()
		return fmt.Errorf("what was fetched does not run here: %v, %s", err, strings.TrimSpace(string(out)))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing what does not run: %w", err)
	}
	return os.Rename(programs, dir)
}

// download has the library fetch and unpack into part/programs. The library
// offers this as the beginning of starting a server: what it starts here finds
// no data, so that it ends at once with an error, which says nothing. What
// counts is whether the archive is there and is the right one.
func download(part string) error {
	data, cache := filepath.Join(part, "data"), filepath.Join(part, "archive")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	// Data of the right version, so that none is made.
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(fetchedVersion[:2]+"\n"), 0o644); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	_, port, err := listenAddr("127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(fetchedVersion).
		Port(uint32(port)).
		CachePath(cache).
		DataPath(data).
		RuntimePath(filepath.Join(part, "runtime")).
		BinariesPath(filepath.Join(part, "programs")).
		Logger(io.Discard)).Start()
	found, err := filepath.Glob(filepath.Join(cache, "*.txz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("PostgreSQL %s cannot be fetched: %w", fetchedVersion, errors.Join(failed, err))
	}
	if err := isArchive(found[0], archives[platform()]); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(part, "programs", "bin", "postgres")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpacking it: %w", failed)
	}
	return nil
}

// isArchive reports whether a file has the sum that it should.
func isArchive(name, want string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading what was fetched: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("reading what was fetched: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("what was fetched is not PostgreSQL %s as it was published: its SHA-256 is %s, and should be %s", fetchedVersion, got, want)
	}
	return nil
}

// A progress says how much of an answer has come.
type progress struct {
	through http.RoundTripper
	to      io.Writer
	what    string
}

// stalled is how long nothing comes until that is an error.
const stalled = time.Minute

func (p *progress) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.through.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	const small = 1 << 20 // such as a checksum
	if resp.StatusCode == http.StatusOK && resp.ContentLength > small {
		fmt.Fprintf(p.to, "no PostgreSQL is installed: fetching %s (%d MB, once)\n", p.what, (resp.ContentLength+500_000)/1_000_000)
		resp.Body = &counted{
			ReadCloser: resp.Body, all: resp.ContentLength, to: p.to, next: time.Now().Add(time.Second),
			watch: time.AfterFunc(stalled, func() { resp.Body.Close() }),
		}
	}
	return resp, nil
}

// A counted reader says now and then how far it has come.
type counted struct {
	io.ReadCloser
	all, read int64
	to        io.Writer
	next      time.Time
	watch     *time.Timer // ends what has stalled
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.watch.Reset(stalled)
	c.read += int64(n)
	if now := time.Now(); now.After(c.next) || err == io.EOF {
		fmt.Fprintf(c.to, "  %d %% of %d MB\n", c.read*100/c.all, (c.all+500_000)/1_000_000)
		c.next = now.Add(time.Second)
	}
	return n, err
}
