package e2e

import (
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest"
)

// A postbox is an SMTP server (RFC 5321) that takes mails to anybody and keeps
// them.
type postbox struct {
	t   *testing.T
	URL string // as SMTP_URL takes it

	mu    sync.Mutex
	mails map[string][]string // texts, by address
	read  map[string]int      // how many of them were
}

func openPostbox(t *testing.T) *postbox {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postbox{t: t, URL: "smtp://" + ln.Addr().String() + "?tls=none", mails: make(map[string][]string), read: make(map[string]int)}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() { p.take(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Wait()
	})
	return p
}

// take speaks with a client until it leaves.
func (p *postbox) take(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(imtest.Patience(p.t)))
	conn := textproto.NewConn(c)
	var to []string
	conn.PrintfLine("220 postbox")
	for {
		line, err := conn.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "RCPT":
			to = append(to, strings.ToLower(strings.Trim(strings.SplitN(rest, ":", 2)[1], " <>")))
		case "DATA":
			conn.PrintfLine("354 go on")
			m, err := mail.ReadMessage(conn.DotReader())
			if err != nil {
				return
			}
			p.keep(to, m)
			to = nil
		case "QUIT":
			conn.PrintfLine("221 bye")
			return
		}
		conn.PrintfLine("250 fine")
	}
}

func (p *postbox) keep(to []string, m *mail.Message) {
	body := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		p.t.Error(err)
	}
	if strings.Contains(string(b), "If it was you, there is nothing that you have to do.") {
		return // it tells of a change, and nobody here waits for that
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range to {
		p.mails[address] = append(p.mails[address], string(b))
	}
}

// next waits for the next mail to an address and returns its text.
func (p *postbox) next(address string) (text string) {
	p.t.Helper()
	imtest.Eventually(p.t, "a mail to "+address, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := p.read[address]
		if len(p.mails[address]) <= n {
			return fmt.Errorf("there are %d", n)
		}
		text = p.mails[address][n]
		p.read[address]++
		return nil
	})
	return text
}

var mailedCode = regexp.MustCompile(`(?m)^    (\S+)\r?$`)

// code waits for the next mail to an address and returns the code in it.
func (p *postbox) code(address string) string {
	p.t.Helper()
	text := p.next(address)
	code := mailedCode.FindStringSubmatch(text)
	if code == nil {
		p.t.Fatalf("there is no code in %q", text)
	}
	return code[1]
}

// none reports it if there is a mail to an address that was not read.
func (p *postbox) none(address string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.mails[address]) - p.read[address]; n > 0 {
		p.t.Errorf("%s has %d mails too many: %q", address, n, p.mails[address][p.read[address]:])
	}
}
