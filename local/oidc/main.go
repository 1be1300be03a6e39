// Oidc runs a provider of OpenID Connect, that of Zitadel's library: somewhere
// to sign in, for the tests of signing in by accounts elsewhere. It prints
// "ready <issuer>" when it answers. Its one client is called tidings, with the
// secret "secret".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("oidc", flag.ContinueOnError)
	addr := f.String("addr", "127.0.0.1:0", "`host:port` to listen on; port 0 is a free one")
	users := f.String("users", "", "`file` of users: a JSON object of ids to ID, Username, Password, FirstName, Email, EmailVerified")
	redirects := f.String("redirects", "", "`URLs` that users may come back to, separated by commas")
	withStdin := f.Bool("with-stdin", false, "end when stdin ends, as it does when the parent dies")
	if err := f.Parse(args); err != nil {
		return err
	}
	store, err := storage.StoreFromFile(*users)
	if err != nil {
		return fmt.Errorf("reading the users: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if *withStdin {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	issuer := "http://" + ln.Addr().String()
	storage.RegisterClients(storage.WebClient("tidings", "secret", strings.Split(*redirects, ",")...))
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	srv := &http.Server{Handler: exampleop.SetupServer(issuer, storage.NewStorage(store), log, false), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { srv.Close() })
	fmt.Println("ready", issuer)
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
