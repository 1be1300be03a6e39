// Ferretdb runs FerretDB, which answers like MongoDB and keeps its data in
// PostgreSQL: a stand-in for the tests of the MongoDB adapter. It prints
// "ready <url>" when it answers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("ferretdb", flag.ContinueOnError)
	addr := f.String("addr", "127.0.0.1:27017", "`host:port` to listen on; port 0 is a free one")
	backend := f.String("postgres", "", "`URL` of the PostgreSQL database to keep data in")
	withStdin := f.Bool("with-stdin", false, "end when stdin ends, as it does when the parent dies")
	if err := f.Parse(args); err != nil {
		return err
	}
	u, err := url.Parse(*backend)
	if err != nil || u.Host == "" {
		return errors.New("--postgres needs the URL of a PostgreSQL database")
	}
	q := u.Query()
	// A command with more matching updates than its pool has connections never ends.
	q.Set("pool_max_conns", "120")
	u.RawQuery = q.Encode()

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
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:      ferretdb.ListenerConfig{TCP: *addr},
		Handler:       "postgresql",
		PostgreSQLURL: u.String(),
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return fmt.Errorf("starting FerretDB: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	fmt.Println("ready", db.MongoDBURI()) // waits until it listens
	return <-ended
}
