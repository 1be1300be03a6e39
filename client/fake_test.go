package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann = "annaaaaaaaaaaaaa"
	bob = "bobaaaaaaaaaaaaa"
)

// fake is a server that does what the test says, over connections in memory,
// so that a test runs on the time of its synctest bubble.
type fake struct {
	t     *testing.T
	conns chan net.Conn // dialed by the client
	srv   http.Server
	http  *http.Client
	socks chan *sock // opened by the client

	mu        sync.Mutex
	down      bool // refuses connections
	dials     []time.Time
	upgrade   func(w http.ResponseWriter) bool // answers instead of upgrading if true
	inbox     []im.Entry
	pulls     []int64 // after of each, in order
	pulling   int
	mostPulls int // at a time
	pullDelay time.Duration
	overlap   int64 // entries too many at the beginning of a page
	pullErr   im.Kind
	refreshes int
	refuse    im.Kind       // answer to a refresh
	slow      time.Duration // to answer it
	plain     bool          // agrees to no subprotocol
	life      time.Duration
	tokens    int
	revoked   map[string]bool // access tokens
	logins    int
	proofs    []string // that came with them
}

// bubble runs a test with a fake on time that passes when everybody waits. It
// fails if a goroutine is left.
func bubble(t *testing.T, test func(*testing.T, *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{
			t:       t,
			conns:   make(chan net.Conn),
			socks:   make(chan *sock, 1000),
			life:    15 * time.Minute,
			revoked: map[string]bool{},
		}
		tr := &http.Transport{DialContext: f.dial}
		f.http = &http.Client{Transport: tr}
		f.srv.Handler = f.routes()
		ln := &listener{conns: f.conns, closed: make(chan struct{})}
		go f.srv.Serve(ln)
		defer func() {
			tr.CloseIdleConnections()
			f.srv.Close()
			synctest.Wait()
		}()
		test(t, f)
	})
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

func (f *fake) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	f.mu.Lock()
	down := f.down
	f.mu.Unlock()
	if down {
		f.note()
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	select {
	case f.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// note notes an attempt to open a socket.
func (f *fake) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials = append(f.dials, time.Now())
}

// set changes what the fake does.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		var in Credentials
		json.NewDecoder(r.Body).Decode(&in)
		f.set(func() { f.logins++; f.proofs = append(f.proofs, in.DeviceProof) })
		if in.Password != "correct horse" {
			f.problem(w, im.Unauthenticated)
			return
		}
		f.grant(w, fmt.Sprint("proof-", f.seenLogins()))
	})
	mux.HandleFunc("POST /v1/sessions/refresh", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			RefreshToken string `json:"refresh_token"`
		}
		json.NewDecoder(r.Body).Decode(&in)
		f.mu.Lock()
		f.refreshes++
		refuse, slow := f.refuse, f.slow
		if refuse == "" && in.RefreshToken != "refresh-"+strconv.Itoa(f.tokens) {
			refuse = im.Unauthenticated // spent
		}
		f.mu.Unlock()
		time.Sleep(slow)
		if refuse != "" {
			f.problem(w, refuse)
			return
		}
		f.grant(w, "")
	})
	mux.HandleFunc("GET /v1/inbox", func(w http.ResponseWriter, r *http.Request) {
		if !f.knows(r) {
			f.problem(w, im.Unauthenticated)
			return
		}
		after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		f.mu.Lock()
		f.pulls = append(f.pulls, after)
		f.pulling++
		f.mostPulls = max(f.mostPulls, f.pulling)
		delay := f.pullDelay
		f.mu.Unlock()
		time.Sleep(delay)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.pulling--
		if f.pullErr != "" {
			f.problem(w, f.pullErr)
			return
		}
		page := InboxPage{Entries: []im.Entry{}}
		for _, e := range f.inbox {
			page.Head = e.Seq
			if e.Seq <= after-f.overlap {
				continue
			}
			if len(page.Entries) == limit {
				page.More = true
				continue
			}
			page.Entries = append(page.Entries, e)
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(page)
	})
	mux.HandleFunc("GET /ws", f.socket)
	return mux
}

// grant answers with new tokens.
// grant gives tokens, and a proof to a device that signs in.
func (f *fake) grant(w http.ResponseWriter, proof string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens++
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(Tokens{
		User:         im.User{ID: ann, Account: "ann"},
		AccessToken:  "access-" + strconv.Itoa(f.tokens),
		ExpiresAt:    im.TimeOf(time.Now().Add(f.life)),
		RefreshToken: "refresh-" + strconv.Itoa(f.tokens),
		DeviceProof:  proof,
	})
}

func (f *fake) problem(w http.ResponseWriter, k im.Kind) {
	status := map[im.Kind]int{im.Unauthenticated: 401, im.Denied: 403, im.Unavailable: 503, im.Overloaded: 429, im.Invalid: 400, im.NotFound: 404}[k]
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(cmp.Or(status, 500))
	json.NewEncoder(w).Encode(im.Problem{Kind: k, Detail: "the fake says " + string(k)})
}

func (f *fake) knows(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && token != "" && !f.revoked[token]
}

func (f *fake) socket(w http.ResponseWriter, r *http.Request) {
	f.note()
	f.mu.Lock()
	upgrade := f.upgrade
	f.mu.Unlock()
	if upgrade != nil && upgrade(w) {
		return
	}
	if !f.knows(r) {
		f.problem(w, im.Unauthenticated)
		return
	}
	u := websocket.Upgrader{Subprotocols: []string{frame.Subprotocol}}
	if f.plain {
		u.Subprotocols = nil
	}
	ws, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s := &sock{f: f, ws: ws, token: r.Header.Get("Authorization"), frames: make(chan frame.FromClient, 10000), ended: make(chan struct{}), writing: make(chan struct{}, 1)}
	f.socks <- s
	defer ws.Close()
	defer close(s.ended)
	defer close(s.frames)
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			s.err = err
			return
		}
		c, err := frame.Parse(b)
		if err != nil {
			f.t.Errorf("the client wrote %s: %v", b, err)
			return
		}
		s.frames <- c
	}
}

// sock is a connection as the fake has it.
type sock struct {
	f      *fake
	ws     *websocket.Conn
	token  string
	frames chan frame.FromClient
	ended  chan struct{}
	err    error

	writing chan struct{}
}

// next waits for the client to open a socket.
func (f *fake) next() *sock {
	f.t.Helper()
	select {
	case s := <-f.socks:
		return s
	case <-time.After(time.Hour):
		f.t.Fatal("no connection within an hour")
		return nil
	}
}

// read returns what the client writes next, within an hour.
func (s *sock) read() frame.FromClient {
	s.f.t.Helper()
	select {
	case c, ok := <-s.frames:
		if !ok {
			s.f.t.Fatalf("the connection ended: %v", s.err)
		}
		return c
	case <-time.After(time.Hour):
		s.f.t.Fatal("the client wrote nothing within an hour")
		return frame.FromClient{}
	}
}

// idle fails if the client writes within a time.
func (s *sock) idle(d time.Duration) {
	s.f.t.Helper()
	select {
	case c, ok := <-s.frames:
		s.f.t.Fatalf("the client wrote %+v (%v)", c, ok)
	case <-time.After(d):
	}
}

func (s *sock) write(c frame.FromServer) {
	s.f.t.Helper()
	s.raw(c.Encode())
}

func (s *sock) raw(b []byte) {
	s.f.t.Helper()
	if err := s.tryWrite(b); err != nil {
		s.f.t.Errorf("writing to the client: %v", err)
	}
}

func (s *sock) tryWrite(b []byte) error {
	s.writing <- struct{}{} // a mutex would stop the bubble's time
	defer func() { <-s.writing }()
	return s.ws.WriteMessage(websocket.TextMessage, b)
}

func (s *sock) welcome(head int64) {
	s.f.t.Helper()
	s.write(frame.FromServer{Type: frame.Welcome, User: ann, Device: "d", Head: head, IdleSecs: 60})
}

func (s *sock) accept(c frame.FromClient) {
	s.f.t.Helper()
	s.write(frame.FromServer{Type: frame.Accepted, ID: c.ClientID, MessageID: "m-" + c.ClientID, Conversation: im.Direct(ann, bob), Time: im.Now()})
}

// close closes the connection; code 0 is without a word.
func (s *sock) close(code int, bye *frame.FromServer) {
	if bye != nil {
		s.write(*bye)
	}
	if code != 0 {
		s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "test"), time.Now().Add(time.Second))
	}
	s.ws.Close()
	<-s.ended
}

// keepAlive pings, so that the client does not think that the server is gone.
func (s *sock) keepAlive(ctx context.Context) {
	go func() {
		for {
			select {
			case <-time.After(25 * time.Second):
				s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			case <-s.ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
}

// message returns the nth message of the fake's inbox.
func message(n int64) im.Message {
	return im.Message{
		ID: fmt.Sprintf("m%d", n), Conversation: im.Direct(ann, bob), Time: im.Time(n), From: bob,
		ClientID: fmt.Sprintf("c%d", n), Kind: im.KindText, Text: fmt.Sprint(n),
	}
}

// fill makes the inbox hold messages up to head.
func (f *fake) fill(head int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := int64(len(f.inbox)) + 1; n <= head; n++ {
		f.put(n, message(n))
	}
}

func (f *fake) put(seq int64, m im.Message) {
	b, err := json.Marshal(m)
	if err != nil {
		f.t.Error(err)
	}
	f.inbox = append(f.inbox, im.Entry{User: ann, Seq: seq, ID: m.ID, Message: b})
}

// push pushes entries of the inbox.
func (s *sock) push(seqs ...int64) {
	s.f.t.Helper()
	for _, seq := range seqs {
		s.f.mu.Lock()
		i := slices.IndexFunc(s.f.inbox, func(e im.Entry) bool { return e.Seq == seq })
		e := s.f.inbox[i]
		s.f.mu.Unlock()
		s.raw(frame.AppendMessage(nil, seq, e.Message))
	}
}

// got is what a client handled.
type got struct {
	mu     sync.Mutex
	seqs   []int64
	events []Event
}

func (g *got) message(_ context.Context, _ *Client, m Message) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seqs = append(g.seqs, m.Seq)
	if m.From == bob && m.Text != fmt.Sprint(m.Seq) {
		return fmt.Errorf("seq %d says %q", m.Seq, m.Text)
	}
	return nil
}

func (g *got) event(e Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

func (g *got) all() []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.seqs)
}

// want fails unless exactly the messages from first to last were handled, in order.
func (g *got) want(t *testing.T, first, last int64) {
	t.Helper()
	synctest.Wait()
	all := g.all()
	if int64(len(all)) != last-first+1 {
		t.Fatalf("handled %v, want %d to %d", all, first, last)
	}
	for i, seq := range all {
		if seq != first+int64(i) {
			t.Fatalf("handled %v, want %d to %d", all, first, last)
		}
	}
}

func (g *got) count(is func(Event) bool) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, e := range g.events {
		if is(e) {
			n++
		}
	}
	return n
}

func (f *fake) options(g *got) Options {
	return Options{
		URL: "http://fake", HTTP: f.http,
		Account: "ann", Password: "correct horse", Device: "d", Platform: "bot",
		OnMessage: g.message, OnEvent: g.event,
	}
}

// connect connects a client and returns the server's end beside it.
func (f *fake) connect(opt Options, head int64) (*Client, *sock) {
	f.t.Helper()
	type result struct {
		c   *Client
		err error
	}
	done := make(chan result)
	go func() {
		c, err := Connect(f.t.Context(), opt)
		done <- result{c, err}
	}()
	s := f.next()
	s.welcome(head)
	r := <-done
	if r.err != nil {
		f.t.Fatal(r.err)
	}
	return r.c, s
}

// sendAll sends texts one after another without waiting for answers.
func sendAll(t *testing.T, c *Client, texts ...string) []*Sending {
	t.Helper()
	var all []*Sending
	for _, text := range texts {
		s, err := c.SendAsync(t.Context(), im.Draft{To: "u:" + bob, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func (f *fake) entry(seq int64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inbox[seq-1].Message
}

// pulled returns after what the client has pulled so far.
func (f *fake) pulled() []int64 {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.pulls)
}

func (f *fake) seenLogins() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logins
}

// seen is how often the client asked for what.
type seen struct{ dials, refreshes, logins int }

func (f *fake) seen() seen {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return seen{len(f.dials), f.refreshes, f.logins}
}
