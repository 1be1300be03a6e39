// Package up runs all of Tidings in one process, on services that it starts
// itself, for trying it and for working on it. The parts are the ones that are
// deployed, wired as they are deployed: they reach each other by HTTP and Kafka.
package up

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
)

// Command runs Tidings until the process is told to stop, which a second time
// ends it at once.
func Command(args []string) error {
	var opt options
	f := flag.NewFlagSet("local", flag.ContinueOnError)
	f.StringVar(&opt.addr, "addr", defaultAddr, "`host:port` of the gateway, for clients")
	f.StringVar(&opt.dir, "data", defaultDir, "`folder` for all data, kept from one start to the next")
	f.BoolVar(&opt.fsync, "fsync", false, "have what Kafka and Redis acknowledge on disk too, as PostgreSQL always has: survives a crash of the machine and not only of the process")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("there is no command %q (local help lists them)", f.Arg(0))
	}

	// All parts in one process make much garbage and keep little: to collect it
	// a quarter as often costs some memory and saves a fifth of the work.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\nstopping; once more to stop at once")
		stop()
		<-signals
		os.Exit(130) // the services that are processes of their own are ended by the kernel
	}()
	return run(ctx, opt, os.Stdout, os.Stderr)
}

const (
	defaultAddr = "127.0.0.1:8080"
	defaultDir  = ".tidings"
)

type options struct {
	addr  string
	dir   string
	fsync bool
}

// run runs Tidings until ctx is done, which is no error, or a part of it fails.
func run(ctx context.Context, opt options, out, warnings io.Writer) (err error) {
	begin := time.Now()
	h, err := openHome(opt.dir, 3*time.Second)
	if err != nil {
		return err
	}
	defer h.close()
	if err := free(opt.addr); err != nil {
		return err
	}
	file, err := openLog(h.path("log.jsonl"))
	if err != nil {
		return err
	}
	defer file.Close()
	log := slog.New(slog.NewMultiHandler(
		slog.NewJSONHandler(file, nil),
		slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}),
	))
	s := &system{home: h, opt: opt, log: log, out: out, failed: make(chan error, 1), neighbours: fn.NewNeighbourhood()}
	defer func() {
		err = errors.Join(err, s.stop())
		log.Info("stopped", "err", err)
	}()
	log.Info("starting", "data", h.dir)
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // that is why
		}
		return err
	}
	s.describe(out, time.Since(begin))
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return fmt.Errorf("%w\n(the log is %s)", err, h.path("log.jsonl"))
	}
}

// free reports whether addr can be listened on.
func free(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another program listens on %s: stop it, or choose another address for Tidings, such as --addr 127.0.0.1:8081", addr)
	}
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	return ln.Close()
}
