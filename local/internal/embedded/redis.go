package embedded

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tidings-im/tidings/shared/imtest/child"
)

// Redis starts redis-server if it is installed, and else Miniredis.
func Redis(ctx context.Context, c Config) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return Miniredis(ctx, c)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	release, err := own(ctx, dir, 0o700)
	if err != nil {
		return nil, err
	}
	s, err := startRedis(ctx, c, bin, dir)
	if err != nil {
		release()
		return nil, err
	}
	s.stop = release
	return s, nil
}

func startRedis(ctx context.Context, c Config, bin, dir string) (*Server, error) {
	pidFile := filepath.Join(dir, "redis.pid")
	if err := endOrphan(ctx, pidFile, syscall.SIGTERM, "redis-server", c.Log); err != nil {
		return nil, err
	}
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	fsync := "everysec"
	if c.Sync {
		fsync = "always"
	}
	cmd := exec.Command(bin,
		"--bind", host, "--port", strconv.Itoa(port),
		"--dir", dir, "--pidfile", pidFile,
		"--appendonly", "yes", "--appendfsync", fsync, "--save", "",
		"--databases", "64", "--loglevel", "warning")
	log := &logLines{log: c.Log, service: "redis-server"}
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := child.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	s := &Server{URL: "redis://" + addr, Name: "redis-server", Dir: dir, proc: proc, end: syscall.SIGTERM}
	if err := started(ctx, s, log, func(context.Context) error { return ping(addr) }); err != nil {
		return nil, err
	}
	return s, nil
}

// ping reports whether a Redis answers and has read its data.
func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") {
		err = fmt.Errorf("redis says %q", strings.TrimSpace(line))
	}
	return err
}

// Miniredis starts a stand-in for Redis in this process. It forgets all when
// it stops.
func Miniredis(ctx context.Context, c Config) (*Server, error) {
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return nil, fmt.Errorf("starting miniredis: %w", err)
	}
	stop := make(chan struct{})
	go func() {
		// Its keys expire only as it is told that time goes by.
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case now := <-tick.C:
				m.FastForward(now.Sub(last))
				last = now
			case <-stop:
				return
			}
		}
	}()
	return &Server{URL: "redis://" + m.Addr(), Name: "miniredis", StandIn: true, stop: func() error {
		close(stop)
		m.Close()
		return nil
	}}, nil
}
