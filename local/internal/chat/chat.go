// Package chat is a chat in a terminal, to try Tidings with. It is written on
// the Go client and does not know what is behind a gateway.
package chat

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/im"
)

const help = `what you type is sent to whom you talk to; besides there are
  /to <account>                  talk to somebody
  /group <name> <account> ...    make a group and talk to it
  /history                       what was said last, here
  /quit`

// connectTime is how long a server may take to answer at first.
const connectTime = 15 * time.Second

// Command chats until its input ends.
func Command(args []string) error {
	f := flag.NewFlagSet("local chat", flag.ContinueOnError)
	as := f.String("as", "", "your `account`; it is made if there is none")
	to := f.String("to", "", "`account` of whom to talk to first")
	server := f.String("url", "http://127.0.0.1:8080", "`URL` of the server")
	password := f.String("password", "", "`password` of the account; without it you are asked, or on a server on this machine one for development is used")
	code := f.String("code", "", "`code` of the second factor of the account, if it has one; without it you are asked")
	dir := f.String("data", ".tidings", "`folder` that keeps who is signed in and what was read, so that the next chat goes on from there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("chat takes no %q (local chat -h lists the flags)", f.Arg(0))
	}
	*as, *to = strings.ToLower(*as), strings.ToLower(*to)
	if *as == "" {
		return errors.New("who are you? local chat --as <account>")
	}
	if err := im.CheckAccount(*as); err != nil {
		return err
	}
	at, err := url.Parse(*server)
	if err != nil || at.Host == "" {
		return fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", *server)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	folder := filepath.Join(*dir, "chat", strings.ReplaceAll(at.Host, ":", "_"))
	store, err := openStore(folder, *as)
	if err != nil {
		return err
	}
	defer store.close()
	s := &session{account: *as, code: *code, people: people{filepath.Join(folder, "people")}, store: store, sent: make(map[string]bool)}
	var tty bool
	s.screen, tty = openScreen(os.Stdin, os.Stdout)
	defer s.screen.close()
	s.quiet = tty

	secret, err := s.password(at, *password)
	if err != nil {
		return err
	}
	err = s.connect(ctx, at, secret)
	if errors.Is(err, im.SecondFactor) && s.code == "" && term.IsTerminal(int(os.Stdin.Fd())) {
		if s.code, err = s.screen.secret("code of the second factor: "); err == nil {
			err = s.connect(ctx, at, secret)
		}
	}
	if err != nil {
		return err
	}
	defer s.client.Close()
	if *to != "" {
		s.partner = *to
	}
	return s.run(ctx)
}

// password returns the password to sign in with.
func (s *session) password(at *url.URL, given string) (string, error) {
	if given != "" || s.store.signedIn() {
		return given, nil
	}
	if local(at) {
		secret := s.account + "-on-this-machine"
		s.screen.print(fmt.Sprintf("signing in as %s with the password %q, since the server is on this machine", s.account, secret))
		return secret, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("a password is needed: --password")
	}
	return s.screen.secret("password of " + s.account + ": ")
}

// local reports whether a server is on this machine.
func local(at *url.URL) bool {
	ip := net.ParseIP(at.Hostname())
	return at.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// connect signs in, after making the account if nobody has it.
func (s *session) connect(ctx context.Context, at *url.URL, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	nobody := func(err error) error {
		if errors.Is(err, im.Unavailable) || errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no Tidings answers at %s: is it started? (%w)", at, err)
		}
		return err
	}
	secret = cmp.Or(secret, s.account+"-on-this-machine")
	register := func() error {
		_, err := (&client.API{URL: at.String()}).Register(ctx, s.account, "", secret)
		if err == nil {
			s.screen.print("made the account " + s.account)
		}
		return err
	}
	known := s.store.signedIn()
	if !known {
		if err := register(); err != nil && !errors.Is(err, im.Conflict) { // somebody has it: we, or the password will be wrong
			return nobody(err)
		}
	}
	connect := func() (*client.Client, error) {
		return client.Connect(ctx, client.Options{
			URL:     at.String(),
			Account: s.account, Password: secret, Code: s.code,
			Device: s.store.device(), Platform: "desktop",
			Store:     s.store,
			OnMessage: s.onMessage,
			OnEvent:   s.onEvent,
		})
	}
	c, err := connect()
	if known && errors.Is(err, im.Unauthenticated) && local(at) && register() == nil {
		// Nobody had the account: the server has begun anew, so what is
		// remembered of it is of no use.
		if err := s.store.change(func(k *client.State) { *k = client.State{} }); err != nil {
			return err
		}
		c, err = connect()
	}
	if errors.Is(err, im.Unauthenticated) {
		return fmt.Errorf("%s has another password: --password (%w)", s.account, err)
	}
	if err != nil {
		return nobody(err)
	}
	s.client = c
	return s.people.remember(im.User{ID: c.User(), Account: s.account})
}
