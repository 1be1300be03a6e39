package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// What a catcher of mails takes and keeps.
const (
	mailBytes = 1 << 20 // of one
	mailsKept = 1000
)

// Mail takes mails by SMTP from whoever reaches it and keeps the newest of them
// as files, for people to read: none goes further.
//
// Its URL is as the setting SMTP_URL takes it.
func Mail(_ context.Context, c Config) (*Server, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder for mails: %w", err)
	}
	host, port, err := listenAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("starting the catcher of mails: %w", err)
	}
	box := &mailbox{dir: dir}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{box: box}, nil }))
	srv.Domain, srv.ReadTimeout, srv.WriteTimeout, srv.MaxMessageBytes, srv.MaxRecipients = "localhost", 30*time.Second, 30*time.Second, mailBytes, 50
	srv.ErrorLog = mailErrors{c}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	return &Server{
		URL: "smtp://" + ln.Addr().String() + "?tls=none", Name: "kept in the folder mail of data, and sent nowhere", Dir: dir,
		stop: func() error {
			err := srv.Close()
			ln.Close() // of which srv may not know yet
			return errors.Join(err, <-ended)
		},
	}, nil
}

// A mailbox is a folder of mails, one file each, whose names begin with the time.
type mailbox struct {
	dir string
	mu  sync.Mutex
}

// put keeps a mail, whole or not at all, and removes the oldest beyond mailsKept.
func (b *mailbox) put(to []string, r io.Reader) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.CreateTemp(b.dir, ".mail-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	name := time.Now().UTC().Format("20060102-150405.000000") + "-" + mailName(strings.Join(to, ",")) + ".eml"
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(b.dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	mails, err := filepath.Glob(filepath.Join(b.dir, "*.eml"))
	slices.Sort(mails)
	for _, old := range mails[:max(len(mails)-mailsKept, 0)] {
		err = errors.Join(err, os.Remove(old))
	}
	return err
}

// mailName returns what of an address may stand in the name of a file.
func mailName(to string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@.+-_", r) {
			return r
		}
		return '_'
	}, to)
	return safe[:min(len(safe), 100)]
}

// A mailSession is a connection to a mailbox.
type mailSession struct {
	box *mailbox
	to  []string
}

func (s *mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	if err := s.box.put(s.to, r); err != nil {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: err.Error()}
	}
	return nil
}

func (s *mailSession) Reset()        { s.to = nil }
func (s *mailSession) Logout() error { return nil }

// mailErrors logs what go-smtp has to say.
type mailErrors struct{ c Config }

func (m mailErrors) Printf(format string, args ...any) {
	m.c.Log.Info(fmt.Sprintf(format, args...), "service", "mail")
}

func (m mailErrors) Println(args ...any) {
	m.c.Log.Info(strings.TrimSpace(fmt.Sprintln(args...)), "service", "mail")
}
