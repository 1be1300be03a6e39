package up

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/local/internal/embedded"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/s3"
)

// Apart is the other program of Command. Its settings are in the environment.
// It serves what Command leaves to it on ports that are free, and prints
// "ready http://<where its functions are>?s3=<where its S3 is>". It ends when
// stdin does, as that does when Command is gone.
func Apart(args []string) (err error) {
	f := flag.NewFlagSet("local apart", flag.ContinueOnError)
	objects := f.String("s3", "", "`folder` of the objects; without it no stand-in for S3 is started")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // what is said on the way out fails and no more
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer ln.Close()
	ready := url.URL{Scheme: "http", Host: ln.Addr().String()}
	if *objects != "" {
		at, closeS3, err := startObjects(ctx, log, *objects)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeS3()) }()
		ready.RawQuery = url.Values{"s3": {at}}.Encode()
	}
	served, err := fn.Select(functions.All, apartFunctions)
	if err != nil {
		return err
	}
	env := proc.NewEnv(os.Getenv, log)
	defer func() { err = errors.Join(err, env.Close()) }()
	handler, err := fn.Mount(ctx, env, served...)
	if err != nil {
		return err
	}
	fmt.Println("ready", ready.String())
	return env.Serve(ctx, ln, handler)
}

// startObjects starts the stand-in for S3 and makes the bucket, and returns
// where it listens.
func startObjects(ctx context.Context, log *slog.Logger, dir string) (addr string, stop func() error, err error) {
	server, err := embedded.S3(ctx, embedded.Config{Addr: "127.0.0.1:0", Dir: dir, Log: log})
	if err != nil {
		return "", nil, err
	}
	env := proc.NewEnv(func(k string) string {
		if k == "S3_URL" {
			return server.URL // and not where clients find it, which is not there yet
		}
		return os.Getenv(k)
	}, log)
	if err := errors.Join(s3.EnsureBucket(ctx, env), env.Close()); err != nil {
		return "", nil, errors.Join(err, server.Close())
	}
	return address(server.URL), server.Close, nil
}
