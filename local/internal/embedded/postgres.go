package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// database is the database that a started PostgreSQL holds, and the user that owns it.
const database = "tidings"

// Postgres starts a PostgreSQL from the programs installed on this machine, or
// from programs that it fetches where none are.
// Data is made at the first start and kept. Without c.Sync it is lost when the
// machine crashes, and the server is as fast as it can be.
func Postgres(ctx context.Context, c Config) (*Server, error) {
	as, err := runAs()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	release, err := own(ctx, dir, 0o711)
	if err != nil {
		return nil, err
	}
	s, err := startPostgres(ctx, c, as, dir)
	if err != nil {
		release()
		return nil, err
	}
	s.stop = release
	return s, nil
}

func startPostgres(ctx context.Context, c Config, as *syscall.Credential, dir string) (*Server, error) {
	dir, err := reachable(dir, as)
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	pg, err := choose(dir, installations(Packaged, os.Getenv("PATH"), here), func() (string, error) { return fetch(ctx, c, as) })
	if err != nil {
		return nil, err
	}
	if as != nil && !traversable(pg.bin) {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and other users cannot reach %s: install PostgreSQL for the system, or run as another user\n%w", pg.bin, ErrNoPostgres)
	}
	data := filepath.Join(dir, fmt.Sprintf("postgresql-%d", pg.major))
	if err := endOrphan(ctx, filepath.Join(data, "postmaster.pid"), syscall.SIGINT, data, c.Log); err != nil {
		return nil, err
	}
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(filepath.Join(data, "PG_VERSION"))
	fresh := err != nil
	secret := data + ".password"
	login, err := userOf(secret, fresh, as)
	if err != nil {
		return nil, fmt.Errorf("the password of PostgreSQL: %w", err)
	}
	if fresh {
		if err := initPostgres(ctx, pg, as, data, secret); err != nil {
			return nil, err
		}
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port)}
	settings := []string{
		"listen_addresses=" + host,
		"unix_socket_directories=",
		"max_connections=400",
		"wal_level=minimal", "max_wal_senders=0", // nothing replicates it
		"log_destination=stderr", "logging_collector=off",
	}
	if !c.Sync {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	// What a statement says and whom a conflict is about are nobody's business
	// who reads a log.
	settings = append(settings, "log_min_error_statement=panic", "log_error_verbosity=terse")
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	name := fmt.Sprintf("PostgreSQL %d", pg.major)
	at := fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", login, net.JoinHostPort(host, strconv.Itoa(port)), database)
	log := &logLines{log: c.Log, service: "postgresql"}
	for try := 0; ; try++ {
		cmd := exec.Command(filepath.Join(pg.bin, "postgres"), args...)
		cmd.Dir = data
		cmd.Env = cleanEnv()
		cmd.Stdout, cmd.Stderr = log, log
		if as != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		}
		// SIGINT is PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
		proc, err := child.Start(cmd, syscall.SIGINT)
		if err != nil {
			return nil, err
		}
		s := &Server{URL: at, Name: name, Dir: dir, proc: proc, end: syscall.SIGINT}
		err = started(ctx, s, log, func(ctx context.Context) error { return makeDatabase(ctx, at) })
		if err == nil {
			return s, nil
		}
		// The last processes of a server that was killed hold its memory for a
		// moment, and one that nobody collects seems to hold its data for ever.
		dead := strings.Contains(err.Error(), `"postmaster.pid" already exists`)
		if try == 5 || ctx.Err() != nil || !dead && !strings.Contains(err.Error(), "still in use") {
			return nil, err
		}
		time.Sleep(200 * time.Millisecond)
		if dead && abandoned(data) {
			os.Remove(filepath.Join(data, "postmaster.pid"))
		}
	}
}

// abandoned reports whether it is sure that no process works in dir, as all of
// a PostgreSQL's do in its data folder.
func abandoned(dir string) bool {
	works, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(works) == 0 {
		return false // not Linux
	}
	for _, link := range works {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			return false
		}
	}
	return true
}

// makeDatabase connects to the server and makes the database if it is not there.
func makeDatabase(ctx context.Context, url string) error {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	conf.Database = "postgres"
	conf.ConnectTimeout = 5 * time.Second
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", database).Scan(&there)
	if err == nil && !there {
		_, err = conn.Exec(ctx, "create database "+database)
	}
	return err
}

// userOf returns as whom to connect, with the password that the file holds.
// One is made for fresh data, because every user of the machine gets to the
// port, and whoever owns the database may run programs by it. Data that was
// made before passwords has none.
func userOf(file string, fresh bool, as *syscall.Credential) (*url.Userinfo, error) {
	b, err := os.ReadFile(file)
	switch {
	case err == nil && len(b) > 0:
		return url.UserPassword(database, string(b)), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case !fresh:
		return url.User(database), nil
	}
	password := rand.Text()
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return nil, err
	}
	if as != nil { // initdb reads it
		if err := os.Chown(file, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	return url.UserPassword(database, password), nil
}

// initPostgres makes a new data folder. It is moved to its place when it is
// whole, so that a crash leaves none that is not.
func initPostgres(ctx context.Context, pg installation, as *syscall.Credential, data, secret string) error {
	// What a start left that was killed. An initdb of it that is still about to
	// end may write there for a moment yet: then the next start removes it.
	left, err := filepath.Glob(data + ".new*")
	if err != nil {
		return err
	}
	for _, dir := range left {
		os.RemoveAll(dir)
	}
	part, err := os.MkdirTemp(filepath.Dir(data), filepath.Base(data)+".new-")
	if err != nil {
		return fmt.Errorf("making the data folder of PostgreSQL: %w", err)
	}
	if as != nil {
		if err := os.Chown(part, int(as.Uid), int(as.Gid)); err != nil {
			return fmt.Errorf("giving the data folder to PostgreSQL's user: %w", err)
		}
	}
	cmd := exec.Command(filepath.Join(pg.bin, "initdb"), "-D", part,
		"-U", database, "--auth=scram-sha-256", "--pwfile="+secret, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir = part
	cmd.Env = cleanEnv()
	if as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	}
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-ctx.Done():
		p.Kill()
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("making a database with initdb of PostgreSQL %d: %w\n%s", pg.major, err, p.Said())
	}
	if err := os.Rename(part, data); err != nil {
		return fmt.Errorf("making the data folder of PostgreSQL: %w", err)
	}
	return nil
}

// cleanEnv keeps settings meant for another PostgreSQL from this one.
func cleanEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// runAs returns as whom PostgreSQL is to run: nil is as ourselves. It refuses
// to run as root.
func runAs() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as: run as another user")
}

// reachable returns dir if the user that PostgreSQL runs as can reach it, and
// else a folder of the system's which takes its place, and whose name is kept
// in dir.
func reachable(dir string, as *syscall.Credential) (string, error) {
	if as == nil || traversable(dir) {
		return dir, nil
	}
	note := filepath.Join(dir, "moved-to")
	if b, err := os.ReadFile(note); err == nil {
		if other := strings.TrimSpace(string(b)); traversable(other) {
			return other, nil
		}
	}
	base := "/var/lib/tidings"
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", fmt.Errorf("PostgreSQL does not run as root, and other users cannot reach %s: %w", dir, err)
	}
	other, err := os.MkdirTemp(base, "local-")
	if err == nil {
		err = os.Chmod(other, 0o755)
	}
	if err == nil {
		err = os.WriteFile(note, []byte(other+"\n"), 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("making a data folder that PostgreSQL's user can reach: %w", err)
	}
	return other, nil
}

// traversable reports whether everybody can get to dir.
func traversable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}
