// Package smtptest is a mail server for tests: it takes mails by SMTP and hands
// them to the test. It does not know what is in them.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// How a server wants to be talked to.
const (
	Plain    = "plain"    // in clear, and it offers nothing else
	StartTLS = "starttls" // TLS once it is asked for; only then it lets anybody sign in
	TLS      = "tls"      // from the start
)

// User and Password are whom a server with TLS lets in.
const (
	User     = "ann@example.org"
	Password = "p:ss/wörd"
)

// A Mail is one that was taken.
type Mail struct {
	From, To string // of the envelope
	Header   mail.Header
	Text     string
}

// A Server takes mails.
type Server struct {
	Addr  string
	Roots *tls.Config // that believes its certificate

	// Refuse answers a recipient; nil takes all. It is set before the first mail.
	Refuse func(to string) error

	mails chan Mail
}

// Start returns a server that ends with the test.
func Start(t testing.TB, how string) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: ln.Addr().String(), mails: make(chan Mail, 100)}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{server: s, known: how == Plain}, nil
	}))
	srv.Domain, srv.ReadTimeout, srv.WriteTimeout, srv.MaxMessageBytes = "localhost", time.Minute, time.Minute, 1<<20
	srv.ErrorLog = silent{}
	if how != Plain {
		cert, roots := certificate(t)
		s.Roots = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		if how == TLS {
			ln = tls.NewListener(ln, config)
		} else {
			srv.TLSConfig = config
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		ln.Close() // of which srv may not know yet
		<-done
	})
	return s
}

// Next returns the next mail, within a minute.
func (s *Server) Next(t testing.TB) Mail {
	t.Helper()
	select {
	case m := <-s.mails:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no mail comes")
		return Mail{}
	}
}

// Waiting returns how many mails Next would return at once.
func (s *Server) Waiting() int { return len(s.mails) }

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

type session struct {
	server *Server
	known  bool
	mail   Mail
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return errors.New("nobody")
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	s.mail.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.To = to
	if s.server.Refuse != nil {
		return s.server.Refuse(to)
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	body := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.mail.Header, s.mail.Text = m.Header, string(text)
	s.server.mails <- s.mail
	return nil
}

func (s *session) Reset()        { s.mail = Mail{} }
func (s *session) Logout() error { return nil }

// certificate returns one of 127.0.0.1 that signs itself.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
