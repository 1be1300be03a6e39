// Package steps kills a process at each of its steps in turn: at each statement
// that it has a database do, and at each request that it makes by HTTP, amid it
// or when it is done and the process does not hear of it. It stands between the
// process and its services, so that nothing in the process has to know. It does
// not know what any of them does.
package steps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// When says at which side of a step a process is killed.
type When int

// Amid a request half of its body has left the process, and only requests with a
// body count as steps. After a step it is done and not answered: of one who is
// killed that is as good as before the next step.
const (
	Amid When = 1 + iota
	After
)

func (w When) String() string { return [...]string{"", "amid", "after"}[w] }

// A Watch counts the steps of one process at a time, and kills it at one of them.
// It is safe for concurrent use.
type Watch struct {
	t       testing.TB
	without []string // how steps begin that do not count

	mu    sync.Mutex
	at    int // the step, from 1, at which it ends
	when  When
	kill  func()   // nil while there is nobody to watch
	names []string // of the steps
	done  bool     // it has come to that step
	dead  bool     // and was killed there
	conns map[net.Conn]bool
}

// New returns a watch that ends with the test. Steps that begin with one of
// without do not count: who is killed after one that changes nothing is as good
// as killed after the one before.
func New(t testing.TB, without ...string) *Watch {
	return &Watch{t: t, without: without, conns: make(map[net.Conn]bool)}
}

// patience is how long a process may take that is not killed.
const patience = 3 * time.Minute

// Run runs this test program once more, with a test of it alone, in an
// environment that names services as Postgres and HTTP gave them, and kills it
// at its n-th step. It returns that step, or "" if the process has ended well
// without coming to it. A process that ends otherwise fails the test.
func (w *Watch) Run(test string, env []string, n int, when When) (killed string) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout="+patience.String())
	var said bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &said, &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.begin(n, when, func() { w.dead = true; cmd.Process.Kill() })
	err := cmd.Wait()
	names, done := w.end()
	var exit *exec.ExitError
	switch {
	case err == nil && !done:
		return ""
	case done && errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return names[n-1]
	}
	w.t.Fatalf("the process, which was to be killed %s step %d of %q, ended by %v; it said\n%s", when, n, names, err, said.Bytes())
	return ""
}

// Cut calls f, and hangs up on it once: after its n-th step, when that is done,
// in the place of an answer. It returns that step, or "" if f has come to its end
// without it, and the error of f.
func (w *Watch) Cut(n int, f func() error) (cut string, err error) {
	w.begin(n, After, func() {})
	err = f()
	names, done := w.end()
	if !done {
		return "", err
	}
	return names[n-1], err
}

func (w *Watch) begin(n int, when When, kill func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.when, w.kill, w.names, w.done, w.dead = n, when, kill, nil, false, false
}

// end hangs up on whoever is left, and returns the steps, and whether the one
// to end at was among them.
func (w *Watch) end() (names []string, done bool) {
	w.mu.Lock()
	w.kill = nil
	names, done = w.names, w.done
	w.mu.Unlock()
	w.cut()
	return names, done
}

// cut ends the connections of a process that has ended.
func (w *Watch) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}

// step counts a step, of which there may be a half. It returns false if there
// is nobody to do it for, and whether they end after this step, or amid it.
func (w *Watch) step(name string, halves bool) (goes bool, ends When) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.kill == nil || w.dead:
		return false, 0
	case w.when == Amid && !halves, slices.ContainsFunc(w.without, func(s string) bool { return strings.HasPrefix(name, s) }):
		return true, 0
	}
	if w.names = append(w.names, name); len(w.names) == w.at {
		return true, w.when
	}
	return true, 0
}

// die ends who is watched.
func (w *Watch) die() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kill != nil && !w.done {
		w.done = true
		w.kill()
	}
}

func (w *Watch) hold(conns ...net.Conn) (drop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range conns {
			c.Close()
			delete(w.conns, c)
		}
	}
}

// HTTP returns the URL of a server at which requests are steps that go to the
// server of another URL.
func (w *Watch) HTTP(to string) string {
	w.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableCompression: true}}
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.forward(rw, r, u, client) })}
	go srv.Serve(l)
	w.t.Cleanup(func() { srv.Close(); client.CloseIdleConnections() })
	from := *u
	from.Host = l.Addr().String()
	return from.String()
}

func (w *Watch) forward(rw http.ResponseWriter, r *http.Request, to *url.URL, client *http.Client) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	goes, die := w.step(r.Method+" "+strings.TrimPrefix(r.URL.Path, to.Path), len(body) > 1)
	if !goes {
		panic(http.ErrAbortHandler)
	}
	if die == Amid {
		w.half(r, to, body)
		w.die()
		panic(http.ErrAbortHandler)
	}
	out, err := http.NewRequest(r.Method, to.Scheme+"://"+to.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header, out.Host = r.Header.Clone(), r.Host // which is signed
	resp, err := client.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if die == After {
		w.die()
	}
	if die == After || err != nil {
		panic(http.ErrAbortHandler)
	}
	for k, v := range resp.Header {
		rw.Header()[k] = v
	}
	rw.WriteHeader(resp.StatusCode)
	rw.Write(answer)
}

// half sends the head of a request and the first half of its body, and hangs up.
func (w *Watch) half(r *http.Request, to *url.URL, body []byte) {
	c, err := net.Dial("tcp", to.Host)
	if err != nil {
		return
	}
	defer c.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.Host, len(body))
	head := r.Header.Clone()
	head.Del("Content-Length")
	head.Write(&b)
	b.WriteString("\r\n")
	b.Write(body[:len(body)/2])
	c.Write(b.Bytes())
}

// Replies returns the address of a server at which each reply of the server of
// another address is a step, when it has done what it answers to: of a protocol
// like SMTP, in which nobody speaks out of turn.
func (w *Watch) Replies(to string) string {
	w.t.Helper()
	return w.listen(func(c, s net.Conn) {
		go func() {
			defer w.hold(c, s)()
			io.Copy(s, c)
		}()
		b := make([]byte, 64<<10)
		for {
			n, err := s.Read(b)
			if err != nil {
				return
			}
			goes, ends := w.step("reply "+strings.TrimSpace(string(b[:min(n, 4)])), false)
			if ends == After {
				w.die()
				return
			}
			if !goes {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	}, to)
}

// listen returns the address of a server that hands each connection over with
// one to another address.
func (w *Watch) listen(serve func(client, server net.Conn), to string) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close(); w.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				s, err := net.Dial("tcp", to)
				if err != nil {
					c.Close()
					return
				}
				defer w.hold(c, s)()
				serve(c, s)
			}()
		}
	}()
	return l.Addr().String()
}

// Postgres returns the URL of a server at which what is to be done at once, a
// statement or several of them, is a step that goes to the database of another
// URL (https://www.postgresql.org/docs/current/protocol-flow.html).
func (w *Watch) Postgres(to string) string {
	w.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		w.t.Fatal(err)
	}
	from := *u
	from.Host = w.listen(w.session, u.Host)
	q := from.Query()
	q.Set("sslmode", "disable")
	from.RawQuery = q.Encode()
	return from.String()
}

// session is one connection to a database.
func (w *Watch) session(c, s net.Conn) {
	first := make([]byte, 4)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	rest := make([]byte, max(0, min(int(binary.BigEndian.Uint32(first))-4, 1<<16)))
	if _, err := io.ReadFull(c, rest); err != nil {
		return
	}
	if _, err := s.Write(append(first, rest...)); err != nil {
		return
	}
	dies := make(chan When, 64) // of each group that is under way; the first is signing in
	dies <- 0
	go func() {
		defer w.hold(c, s)()
		for die := range dies {
			for {
				typ, m, err := message(s)
				if err != nil {
					return
				}
				if die != After { // of which nobody hears
					if _, err := c.Write(m); err != nil {
						return
					}
				}
				if typ == 'Z' { // ready for more
					break
				}
			}
			if die == After {
				w.die()
				return
			}
		}
	}()
	defer close(dies)
	prepared := map[string]string{}
	var group []byte
	var name []string
	for {
		typ, m, err := message(c)
		if err != nil {
			return
		}
		group = append(group, m...)
		switch typ {
		case 'Q':
			name = append(name, text(m[5:]))
		case 'P':
			as := text(m[5:])
			prepared[as] = text(m[5+len(as)+1:])
		case 'B':
			portal := text(m[5:])
			name = append(name, prepared[text(m[5+len(portal)+1:])])
		}
		switch typ {
		case 'Q', 'S':
			die := When(0)
			if len(name) > 0 { // and not only prepared
				var goes bool
				if goes, die = w.step(short(name), false); !goes {
					return
				}
			}
			dies <- die
			name = nil
		case 'P', 'B', 'D', 'E', 'C':
			continue
		}
		if _, err := s.Write(group); err != nil {
			return
		}
		group = group[:0]
	}
}

// message reads a message of either side, whole.
func message(r io.Reader) (typ byte, m []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > 1<<28 {
		return 0, nil, fmt.Errorf("a message of %d bytes", n)
	}
	m = slices.Grow(head, n)[:5+n]
	_, err = io.ReadFull(r, m[5:])
	return head[0], m, err
}

// text returns the string that b begins with, which ends with a zero.
func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// short names statements by their first words.
func short(statements []string) string {
	for i, s := range statements {
		words := strings.Fields(s)
		statements[i] = strings.Join(words[:min(len(words), 6)], " ")
	}
	return strings.Join(statements[:min(len(statements), 3)], "; ")
}
