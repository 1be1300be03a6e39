// Package mail sends mails by SMTP. It does not know what is in them, nor to
// whom they may be sent.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdmail "net/mail"
	"net/url"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingURL     = proc.Setting{Name: "SMTP_URL", Secret: true, Doc: "server that takes mails, as smtp://user:password@host:587 (STARTTLS, or the mail is not sent) or smtps://user:password@host:465 (TLS from the start); with ?tls=none in clear, for one on the same machine; unset, no mails are sent"}
	settingFrom    = proc.Setting{Name: "MAIL_FROM", Default: "Tidings <tidings@localhost>", Doc: "sender of mails, as in From"}
	settingTimeout = proc.Setting{Name: "SMTP_TIMEOUT", Default: "5s", Doc: "how long connecting to the mail server, and each of its answers, may take"}
)

// ErrOff means that no mail server is set.
var ErrOff = errors.New("SMTP_URL is not set")

// A Mail is to one address, plain text.
type Mail struct {
	To      string
	Subject string
	Text    string
}

// A Sender sends mails by one server. It is safe for concurrent use: each mail
// has a connection of its own.
type Sender struct {
	from string
	host string
	opts []gomail.Option
}

// Open returns the sender of the process, or ErrOff.
func Open(env *proc.Env) (*Sender, error) {
	set := env.Settings()
	at, from, timeout := set.String(settingURL), set.String(settingFrom), set.Duration(settingTimeout)
	if err := set.Err(); err != nil {
		return nil, err
	}
	if at == "" {
		return nil, ErrOff
	}
	env.Uses(proc.Outside)
	return New(at, from, timeout, nil)
}

// New returns a sender. The TLS configuration is nil for the default one.
func New(at, from string, timeout time.Duration, config *tls.Config) (*Sender, error) {
	if _, err := stdmail.ParseAddress(from); err != nil {
		return nil, fmt.Errorf("setting %s: %q is no address such as Tidings <tidings@example.org>", settingFrom.Name, from)
	}
	wrong := fmt.Errorf("setting %s: is not a URL such as smtp://user:password@host:587 or smtps://user:password@host:465", settingURL.Name) // it may quote the password
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, wrong
	}
	port, opts := 587, []gomail.Option{gomail.WithTimeout(timeout)}
	switch plain := u.RawQuery == "tls=none"; {
	case u.RawQuery != "" && !plain, u.Scheme == "smtps" && plain:
		return nil, wrong
	case plain && u.Scheme == "smtp":
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	case u.Scheme == "smtp":
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case u.Scheme == "smtps":
		port = 465
		opts = append(opts, gomail.WithSSL())
	default:
		return nil, wrong
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return nil, wrong
		}
	}
	opts = append(opts, gomail.WithPort(port))
	if u.User != nil {
		password, _ := u.User.Password()
		opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	if config != nil {
		opts = append(opts, gomail.WithTLSConfig(config))
	}
	if _, err := gomail.NewClient(u.Hostname(), opts...); err != nil {
		return nil, wrong
	}
	return &Sender{from: from, host: u.Hostname(), opts: opts}, nil
}

// Send sends a mail: the server has taken it when Send returns nil. Invalid: it
// never will. Any other error is Unavailable: it may later.
func (s *Sender) Send(ctx context.Context, m Mail) error {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent()) // nobody need know of which version it is
	err := errors.Join(msg.From(s.from), msg.To(m.To))
	if err != nil {
		return im.Wrap(im.Invalid, err, "this mail cannot be written")
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody answers by a machine
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	client, err := gomail.NewClient(s.host, s.opts...)
	if err == nil {
		err = client.DialAndSendWithContext(ctx, msg)
	}
	return failed(err)
}

// failed gives an error of sending its kind.
func failed(err error) error {
	if err == nil {
		return nil
	}
	var send *gomail.SendError
	if errors.As(err, &send) && send.Reason == gomail.ErrSMTPRcptTo {
		switch send.ErrorCode() { // RFC 5321, 4.2.3: what else the server refuses its operator can mend
		case 550, 551, 553:
			return im.Wrap(im.Invalid, err, "the mail server refuses this address")
		}
	}
	return &im.Error{Kind: im.Unavailable, Msg: "the mail server does not take mails just now", Err: err, Dependency: "smtp"}
}
