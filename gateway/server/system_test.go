package server

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

// patience is how long a test waits for what is to happen.
const patience = time.Minute

// A system is what gateways stand on: a real Redis, and functions that the
// test makes up.
type system struct {
	t     testing.TB
	vars  map[string]string
	redis *redis.Client
	ring  *event.Keyring
	key   ed25519.PrivateKey

	mu        sync.Mutex
	ingest    func(context.Context, []event.Submitted) []fn.Reply[event.Placed]
	submitted []event.Submitted // in the order of arrival
	signals   []event.Signalled
	looked    int           // users at whom push-presence was asked to look
	told      []im.Presence // of whom others would have been told
	heads     func(event.Heads) (event.HeadsAnswer, error)
	asked     []event.Heads
}

func newSystem(t testing.TB) *system {
	t.Helper()
	return newSystemOn(t, imtest.Redis(t))
}

func newSystemOn(t testing.TB, redisURL string) *system {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, key: key, ingest: accept}
	s.heads = func(ask event.Heads) (event.HeadsAnswer, error) {
		return event.HeadsAnswer{Heads: map[string]int64{}}, nil
	}
	s.vars = map[string]string{
		"REDIS_URL":             redisURL,
		"SEAL_KEYS":             "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"TOKEN_PUBLIC_KEYS":     string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"GATEWAY_ADDR":          "127.0.0.1:0",
		"GATEWAY_INTERNAL_ADDR": "127.0.0.1:0",
		"SEND_RATE":             "100000",
		"SEND_BURST":            "100000",
		"DRAIN":                 "10ms",
		"DRAIN_SPREAD":          "5s",
		"PRESENCE_GRACE":        "300ms",
	}
	env := imtest.Env(t, s.vars)
	if s.redis, err = redis.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if s.ring, err = fn.Keyring(env); err != nil {
		t.Fatal(err)
	}
	functions := httptest.NewServer(s.functions(env))
	t.Cleanup(functions.Close)
	s.vars["FUNCTION_URL"] = functions.URL + "/{function}"
	return s
}

// functions returns the functions that a gateway posts to.
func (s *system) functions(env *proc.Env) http.Handler {
	s.t.Helper()
	handler := func(h fn.Handler) func(context.Context, *proc.Env) (fn.Handler, error) {
		return func(context.Context, *proc.Env) (fn.Handler, error) { return h, nil }
	}
	mux, err := fn.Mount(s.t.Context(), env,
		fn.Func{Name: "chat-ingest", Accepts: event.MessageSubmitted, New: handler(fn.Answer(s.take))},
		fn.Func{Name: "push-signal", Accepts: event.Signal, New: handler(fn.On(func(_ context.Context, got []event.Signalled) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.signals = append(s.signals, got...)
			return nil
		}))},
		fn.Func{Name: "push-presence", Accepts: event.PresenceChanged, New: func(_ context.Context, env *proc.Env) (fn.Handler, error) {
			online, err := s.redis.NewOnline(env)
			return fn.On(func(ctx context.Context, changes []event.Changed) error {
				var users []string
				for _, c := range changes {
					users = append(users, c.User)
				}
				told, err := online.Turned(ctx, users)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.looked += len(users)
				s.told = append(s.told, told...)
				return err
			}), err
		}},
		fn.Func{Name: "inbox-heads", Accepts: event.InboxHeads, New: handler(fn.Answer(func(_ context.Context, asks []event.Heads) []fn.Reply[event.HeadsAnswer] {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, asks...)
			a, err := s.heads(asks[0])
			return []fn.Reply[event.HeadsAnswer]{{Value: a, Err: err}}
		}))},
	)
	if err != nil {
		s.t.Fatal(err)
	}
	return mux
}

func (s *system) take(ctx context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
	s.mu.Lock()
	f := s.ingest
	s.submitted = append(s.submitted, batch...)
	s.mu.Unlock()
	return f(ctx, batch)
}

// onIngest has f answer in place of chat-ingest.
func (s *system) onIngest(f func(context.Context, []event.Submitted) []fn.Reply[event.Placed]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ingest = f
}

func (s *system) arrived() []event.Submitted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]event.Submitted(nil), s.submitted...)
}

// accept accepts all messages.
func accept(_ context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
	replies := make([]fn.Reply[event.Placed], len(batch))
	for i, m := range batch {
		conv, err := m.Draft.Conversation(m.From)
		at := im.Now()
		replies[i] = fn.Reply[event.Placed]{Value: event.Placed{ID: im.NewMessageID(at), Conversation: conv, Time: at}, Err: err}
	}
	return replies
}

// A gate is a running gateway.
type gate struct {
	*Server
	t    testing.TB
	env  *proc.Env
	stop context.CancelFunc
	done chan error // closed at the end
}

// gateway starts a gateway; vars are settings in which it differs.
func (s *system) gateway(vars ...string) *gate {
	s.t.Helper()
	all := maps.Clone(s.vars)
	for i := 0; i < len(vars); i += 2 {
		all[vars[i]] = vars[i+1]
	}
	env := imtest.Env(s.t, all)
	ctx, stop := context.WithCancel(context.Background())
	srv, err := Open(ctx, env)
	if err != nil {
		s.t.Fatal(err)
	}
	g := &gate{Server: srv, t: s.t, env: env, stop: stop, done: make(chan error, 1)}
	go func() {
		defer close(g.done)
		g.done <- srv.Serve(ctx)
	}()
	s.t.Cleanup(g.end)
	imtest.Eventually(s.t, "the gateway is registered", func() error {
		urls, err := s.redis.NewGateways(imtest.Env(s.t, nil)).URLs(s.t.Context(), []string{srv.id})
		if err == nil && urls[srv.id] == "" {
			err = errors.New("it is not there")
		}
		return err
	})
	return g
}

// end stops the gateway and waits.
func (g *gate) end() {
	g.t.Helper()
	g.stop()
	select {
	case err := <-g.done: // nil when it has ended before
		if err != nil {
			g.t.Errorf("stopping the gateway: %v", err)
		}
	case <-time.After(proc.Grace + patience):
		g.t.Error("the gateway does not stop")
	}
}

// someone returns who signed in on a device of a new user.
func someone(platform string) im.Caller {
	return im.Caller{User: im.NewID(), Session: im.NewID(), Device: "device-1", Platform: platform}
}

// token returns an access token of c.
func (s *system) token(c im.Caller, ttl time.Duration) string {
	s.t.Helper()
	t, _, err := token.NewIssuer(s.key, "tidings", ttl).Issue(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// A peer is the other end of a connection.
type peer struct {
	t  testing.TB
	ws *websocket.Conn
	im.Caller
	welcome frame.FromServer
	frames  chan frame.FromServer
	end     chan error // why reading ended
}

// dial connects c to a gateway and reads the welcome.
func (s *system) dial(g *gate, c im.Caller) *peer {
	s.t.Helper()
	p := s.open(g, c)
	p.read()
	p.welcome = p.next(frame.Welcome)
	return p
}

// open connects c to a gateway and reads nothing.
func (s *system) open(g *gate, c im.Caller) *peer {
	s.t.Helper()
	ws, resp, err := s.tryDial(g, http.Header{"Authorization": {"Bearer " + s.token(c, time.Hour)}}, "/ws")
	if err != nil {
		s.t.Fatalf("connecting: %v %v", err, resp)
	}
	return &peer{t: s.t, ws: ws, Caller: c, frames: make(chan frame.FromServer, 4096), end: make(chan error, 1)}
}

func (s *system) tryDial(g *gate, h http.Header, path string, protocols ...string) (*websocket.Conn, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: append([]string{frame.Subprotocol}, protocols...), HandshakeTimeout: patience}
	ws, resp, err := d.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(g.URL, "http")+path, h)
	if ws != nil {
		s.t.Cleanup(func() { ws.Close() })
	}
	return ws, resp, err
}

// read begins to read.
func (p *peer) read() {
	go func() {
		defer close(p.frames)
		for {
			_, b, err := p.ws.ReadMessage()
			if err != nil {
				p.end <- err
				return
			}
			var f frame.FromServer
			if err := json.Unmarshal(b, &f); err != nil {
				p.t.Errorf("a frame that is not JSON: %s", b)
			}
			p.frames <- f
		}
	}()
}

// next returns the next frame, which is to be of a type.
func (p *peer) next(typ string) frame.FromServer {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if !ok {
			p.t.Fatalf("the connection ended before a frame of type %s: %v", typ, <-p.end)
		}
		if f.Type != typ {
			p.t.Fatalf("got %+v, want a frame of type %s", f, typ)
		}
		return f
	case <-time.After(patience):
		p.t.Fatalf("no frame of type %s", typ)
		panic("unreachable")
	}
}

// quiet reports an error if a frame comes within d.
func (p *peer) quiet(d time.Duration) {
	p.t.Helper()
	select {
	case f, ok := <-p.frames:
		if !ok {
			p.t.Errorf("the connection ended: %v", <-p.end)
			return
		}
		p.t.Errorf("got %+v, want nothing", f)
	case <-time.After(d):
	}
}

// closed waits for the connection to be closed for a reason and returns the
// bye. Frames before it are passed over.
func (p *peer) closed(want frame.Close) frame.FromServer {
	p.t.Helper()
	var bye frame.FromServer
	timeout := time.After(patience)
	for {
		select {
		case f, ok := <-p.frames:
			if ok {
				if f.Type == frame.Bye {
					bye = f
				}
				continue
			}
			err := <-p.end
			var ce *websocket.CloseError
			if !errors.As(err, &ce) || ce.Code != want.Code || ce.Text != want.Reason {
				p.t.Fatalf("closed by %v, want %v", err, want)
			}
			if bye.Code != want.Code || bye.Reason != want.Reason || bye.Reconnect != want.Reconnect() {
				p.t.Fatalf("the bye before %v was %+v", want, bye)
			}
			return bye
		case <-timeout:
			p.t.Fatalf("not closed as %v", want)
		}
	}
}

// say writes a frame.
func (p *peer) say(format string, args ...any) {
	p.t.Helper()
	p.write(websocket.TextMessage, fmt.Appendf(nil, format, args...))
}

func (p *peer) write(op int, b []byte) {
	p.t.Helper()
	p.ws.SetWriteDeadline(time.Now().Add(patience))
	if err := p.ws.WriteMessage(op, b); err != nil {
		p.t.Fatalf("writing: %v", err)
	}
}

// send sends a message to a user under a client id.
func (p *peer) send(id, to string) {
	p.t.Helper()
	p.say(`{"type":"send","id":%q,"to":"u:%s","text":"text of %s"}`, id, to, id)
}

// push posts events to the internal port of a gateway and returns the results.
func (s *system) push(g *gate, events ...event.Event) []fn.Result {
	s.t.Helper()
	results, err := fn.Post(s.t.Context(), http.DefaultClient, g.InternalURL+"/push", events)
	if err != nil {
		s.t.Fatal(err)
	}
	return results
}

// sealed returns a sealed event.
func (s *system) sealed(typ string, data any) event.Event {
	s.t.Helper()
	e, err := event.New(typ, "test", "", data)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ring.Sign(&e)
	return e
}

// freeAddr returns an address that nobody listens at.
func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
