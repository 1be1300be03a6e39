package embedded

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Services are the services that Command runs, by name.
var Services = map[string]struct {
	Addr  string // where it listens if nothing else is said
	Start func(context.Context, Config) (*Server, error)
}{
	"kafka":    {"127.0.0.1:9092", Kafka},
	"postgres": {"127.0.0.1:5432", Postgres},
	"redis":    {"127.0.0.1:6379", Redis},
	"s3":       {"127.0.0.1:9000", S3},
}

// Command runs one service in the foreground, until the process is told to
// stop, and prints "ready <url>" when it answers.
func Command(name string, args []string) error {
	service := Services[name]
	f := flag.NewFlagSet("local "+name, flag.ContinueOnError)
	addr := f.String("addr", service.Addr, "`host:port` to listen on; port 0 is a free one")
	dir := f.String("data", "", "`folder` for the data, kept; without it, data is thrown away at the end")
	sync := f.Bool("fsync", false, "have all it acknowledges on disk, to survive a crash of the machine and not only of the process")
	withStdin := f.Bool("with-stdin", false, "end when stdin ends, as it does when the parent dies")
	miniredis := f.Bool("miniredis", false, "with redis: use the stand-in even if redis-server is installed")
	login := f.String("login", "", "with kafka: `user:password` that it asks for, by PLAIN or SCRAM")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("local %s takes no %q", name, f.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx) // stop would let the next signal kill the process
	defer cancel()
	// When the parent is gone, what is said on the way out fails and no more.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if *withStdin {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	conf := Config{Addr: *addr, Dir: *dir, Sync: *sync, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	conf.User, conf.Password, _ = strings.Cut(*login, ":")
	if conf.Dir == "" {
		tmp, err := os.MkdirTemp("", "tidings-"+name+"-")
		if err != nil {
			return fmt.Errorf("making a folder for data: %w", err)
		}
		defer os.RemoveAll(tmp)
		if err := os.Chmod(tmp, 0o755); err != nil { // PostgreSQL may run as another user
			return fmt.Errorf("making a folder for data: %w", err)
		}
		conf.Dir = tmp
	}
	start := service.Start
	if *miniredis {
		start = Miniredis
	}
	s, err := start(ctx, conf)
	if err != nil {
		return err
	}
	fmt.Println("ready", s.URL)
	select {
	case <-ctx.Done():
		return s.Close()
	case <-s.Done():
		s.Close()
		return s.Err()
	}
}
