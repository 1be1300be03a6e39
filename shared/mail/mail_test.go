package mail

import (
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/smtptest"
)

var who = url.UserPassword(smtptest.User, smtptest.Password).String()

func TestAMailArrives(t *testing.T) {
	for _, tt := range []struct{ name, server, url string }{
		{"by STARTTLS", smtptest.StartTLS, "smtp://" + who + "@{addr}"},
		{"by TLS from the start", smtptest.TLS, "smtps://" + who + "@{addr}/"},
		{"in clear, if that is wanted", smtptest.Plain, "smtp://{addr}?tls=none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.Start(t, tt.server)
			s, err := New(strings.ReplaceAll(tt.url, "{addr}", srv.Addr), "Tidings <im@example.org>", 5*time.Second, srv.Roots)
			if err != nil {
				t.Fatal(err)
			}
			text := "Für Ann.\n\n    abcd-2345\n" + strings.Repeat("long ", 40) + "\n.\n"
			if err := s.Send(t.Context(), Mail{To: "bob@example.net", Subject: "Your code, Änn", Text: text}); err != nil {
				t.Fatal(err)
			}
			m := srv.Next(t)
			if m.From != "im@example.org" || m.To != "bob@example.net" || m.Header.Get("From") != `"Tidings" <im@example.org>` ||
				m.Header.Get("Date") == "" || m.Header.Get("Message-Id") == "" || m.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("%+v", m)
			}
			for _, name := range []string{"X-Mailer", "User-Agent"} {
				if said := m.Header.Get(name); said != "" {
					t.Errorf("it tells by which version it was sent: %s: %s", name, said)
				}
			}
			if got := strings.TrimSpace(strings.ReplaceAll(m.Text, "\r\n", "\n")); got != strings.TrimSpace(text) {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestAMailThatIsNotTaken(t *testing.T) {
	for _, tt := range []struct {
		name, server, url string
		refuse            error
		untrusted         bool
		want              im.Kind
	}{
		{name: "in clear, where TLS is wanted", server: smtptest.Plain, url: "smtp://{addr}", want: im.Unavailable},
		{name: "by a server that nobody vouches for", server: smtptest.StartTLS, url: "smtp://" + who + "@{addr}", untrusted: true, want: im.Unavailable},
		{name: "with another password", server: smtptest.TLS, url: "smtps://ann%40example.org:x@{addr}", want: im.Unavailable},
		{name: "without a password", server: smtptest.TLS, url: "smtps://{addr}", want: im.Unavailable},
		{name: "by nobody", server: smtptest.Plain, url: "smtp://127.0.0.1:1?tls=none", want: im.Unavailable},
		{name: "for nobody", server: smtptest.Plain, url: "smtp://{addr}?tls=none", want: im.Invalid,
			refuse: &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}},
		{name: "for somebody who has to wait", server: smtptest.Plain, url: "smtp://{addr}?tls=none", want: im.Unavailable,
			refuse: &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}},
		{name: "for the time being, by its rules", server: smtptest.Plain, url: "smtp://{addr}?tls=none", want: im.Unavailable,
			refuse: &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "relaying denied"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := smtptest.Start(t, tt.server)
			srv.Refuse = func(string) error { return tt.refuse }
			config := srv.Roots
			if tt.untrusted {
				config = &tls.Config{ServerName: "127.0.0.1"}
			}
			s, err := New(strings.ReplaceAll(tt.url, "{addr}", srv.Addr), "im@example.org", 2*time.Second, config)
			if err != nil {
				t.Fatal(err)
			}
			if err = s.Send(t.Context(), Mail{To: "bob@example.net", Subject: "S", Text: "T"}); im.KindOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if srv.Waiting() > 0 {
				t.Error("a mail came")
			}
		})
	}
}

// What stands in a header cannot end it.
func TestAHeaderIsOneLine(t *testing.T) {
	srv := smtptest.Start(t, smtptest.Plain)
	s, err := New("smtp://"+srv.Addr+"?tls=none", "im@example.org", 2*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), Mail{To: "bob@example.net\r\nBcc: cyd@example.net", Subject: "S", Text: "T"}); !errors.Is(err, im.Invalid) {
		t.Errorf("%v", err)
	}
	if err := s.Send(t.Context(), Mail{To: "bob@example.net", Subject: "S\r\nBcc: cyd@example.net", Text: "T"}); err != nil {
		t.Fatal(err)
	}
	if m := srv.Next(t); m.Header.Get("Bcc") != "" {
		t.Errorf("%v", m.Header)
	}
}

func TestSettings(t *testing.T) {
	if _, err := Open(imtest.Env(t, nil)); !errors.Is(err, ErrOff) {
		t.Errorf("without a server: %v", err)
	}
	for _, at := range []string{"smtp://", "http://host", "smtp://host:port", "smtps://host?tls=none", "smtp://host?tls=some", "smtp://host/path", "host:25", "smtp://u:secret@ho st"} {
		_, err := Open(imtest.Env(t, map[string]string{"SMTP_URL": at}))
		if err == nil || !strings.Contains(err.Error(), "SMTP_URL") || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := Open(imtest.Env(t, map[string]string{"SMTP_URL": "smtp://host", "MAIL_FROM": "nobody"})); err == nil || !strings.Contains(err.Error(), "MAIL_FROM") {
		t.Errorf("from nobody: %v", err)
	}
	if _, err := Open(imtest.Env(t, map[string]string{"SMTP_URL": "smtp://u:p@host"})); err != nil {
		t.Error(err)
	}
}
