// Package embedded starts the services that Tidings stands on, for one machine
// and without installing more than PostgreSQL: real ones where they can be
// had, stand-ins where not. It does not know what Tidings keeps in them.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/shared/imtest/child"
	"github.com/tidings-im/tidings/shared/imtest/freeport"
)

// Config is how to start a service.
type Config struct {
	Addr string // host:port of the loopback interface to listen on; port 0 is a free one
	Dir  string // for its data, made if it does not exist
	Sync bool   // what it acknowledges is on disk, and not only handed to the operating system
	Log  *slog.Logger

	Progress io.Writer // is told, in lines, how far fetching what is not installed has come; nil is Log

	// User and Password are asked for by Kafka, by PLAIN and SCRAM; "" asks for none.
	User, Password string
}

// A Server is a running service.
type Server struct {
	URL     string
	Name    string // what it is, with its version where that is known
	Dir     string // where its data is, which may not be where it was asked to be; "" is nowhere
	StandIn bool   // whether it only speaks like what it is used as

	proc *child.Process // nil for one inside this process
	end  syscall.Signal // that stops proc
	once sync.Once
	stop func() error // after proc has ended
}

// Done is closed when the service ends, which it only does by itself if it is
// a process of its own.
func (s *Server) Done() <-chan struct{} {
	if s.proc == nil {
		return nil
	}
	return s.proc.Done()
}

// Err returns how it ended by itself.
func (s *Server) Err() error { return fmt.Errorf("%s ended: %w", s.Name, s.proc.Err()) }

// Close stops the service and waits until it has stopped. Its data stays.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		if s.proc != nil && s.proc.Stop(s.end, 15*time.Second) {
			err = fmt.Errorf("%s did not stop within 15 s and was killed", s.Name)
		}
		if s.stop != nil {
			err = errors.Join(err, s.stop())
		}
	})
	return err
}

// listenAddr cuts addr, finds a free port where it names none, and makes sure
// that nothing listens there yet: that would be taken for the service. Services
// here ask for no password, so only the loopback interface will do.
func listenAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("reading the address %q: %w", addr, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("%s is not on the loopback interface: an embedded service lets anybody in who reaches it, so it listens on 127.0.0.1 only", addr)
	}
	if p == "0" {
		port, err = freeport.Take()
	} else {
		port, err = net.LookupPort("tcp", p)
		err = cmp.Or(err, freeport.Check(net.JoinHostPort(host, p)))
	}
	if err != nil {
		return "", 0, fmt.Errorf("finding a port: %w", err)
	}
	return host, port, nil
}

// own makes dir and takes it for this process, waiting for another that is
// still stopping. What it returns gives the folder back.
func own(ctx context.Context, dir string, mode os.FileMode) (release func() error, err error) {
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			f.Close()
			return nil, fmt.Errorf("%s is in use by another process", dir)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// endOrphan ends the process whose id begins the file, if its command line
// shows that it is what we think, and waits until it has ended. A parent that
// is killed leaves one behind where children are not told of it.
func endOrphan(ctx context.Context, file string, sig syscall.Signal, sign string, log *slog.Logger) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil // there never was one
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return nil
	}
	if !strings.Contains(child.CommandLine(pid), sign) {
		return nil
	}
	log.Info("waiting for a process that an earlier run left behind", "pid", pid)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return poll(ctx, func(context.Context) error {
		if !strings.Contains(child.CommandLine(pid), sign) {
			return nil
		}
		syscall.Kill(pid, sig)
		return fmt.Errorf("process %d of an earlier run holds the data and does not end", pid)
	})
}

// poll calls f until it returns nil or ctx is done.
func poll(ctx context.Context, f func(context.Context) error) error {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}
