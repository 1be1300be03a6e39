package ws

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// client is a transport, and the client at its other end. transport_test.go
// holds it to what the real one does.
type client struct {
	*Conn
	in    chan string
	pings int

	mu       sync.Mutex
	written  []outgoing
	blocked  chan struct{} // if not nil, writing waits until it is closed
	closed   bool
	hurried  context.Context // ends when the write that waits is to end
	hurry    context.CancelFunc
	deadline context.Context // ends when reading is to end
	hangUp   context.CancelFunc
}

func newClient() *client {
	c := &client{in: make(chan string)}
	c.hurried, c.hurry = context.WithCancel(context.Background())
	c.deadline, c.hangUp = context.WithCancel(context.Background())
	return c
}

// block has writing wait until the channel it returns is closed.
func (c *client) block() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocked = make(chan struct{})
	return c.blocked
}

func (c *client) NextReader() (int, io.Reader, error) {
	for {
		select {
		case s, ok := <-c.in:
			switch {
			case !ok:
				return 0, nil, io.EOF
			case s == "pong":
				c.onPong("")
				continue
			case s == "ping":
				c.onPing("")
				continue
			case s == "stall":
				return websocket.TextMessage, stalled{c}, nil
			}
			return websocket.TextMessage, strings.NewReader(s), nil
		case <-c.deadline.Done():
			return 0, nil, os.ErrDeadlineExceeded
		}
	}
}

// stalled is a frame that does not come to its end, while pongs go on.
type stalled struct{ *client }

func (s stalled) Read([]byte) (int, error) {
	for {
		select {
		case <-s.in:
			s.onPong("")
		case <-s.deadline.Done():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (c *client) Write(frames []outgoing) error {
	c.mu.Lock()
	blocked := c.blocked
	c.mu.Unlock()
	if c.hurried.Err() != nil {
		return os.ErrDeadlineExceeded
	}
	if blocked != nil {
		select {
		case <-blocked:
		case <-c.hurried.Done():
			return os.ErrDeadlineExceeded
		case <-time.After(writeWait):
			return os.ErrDeadlineExceeded
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range frames {
		switch f.op {
		case websocket.PingMessage:
			c.pings++
		default:
			c.written = append(c.written, f)
		}
	}
	return nil
}

func (c *client) SetReadDeadline(t time.Time) error {
	time.AfterFunc(time.Until(t), c.hangUp)
	return nil
}

func (c *client) Hurry(t time.Time) { time.AfterFunc(time.Until(t), c.hurry) }

func (c *client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// frames returns what was written to the client, and forgets it.
func (c *client) frames() []frame.FromServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []frame.FromServer
	for _, o := range c.written {
		var f frame.FromServer
		if o.op == websocket.CloseMessage {
			f.Type = "close"
		} else if err := json.Unmarshal(o.body, &f); err != nil {
			f.Type = string(o.body)
		}
		all = append(all, f)
	}
	c.written = nil
	return all
}

// waiting returns what waits to be written.
func (c *client) waiting() (frames, bytes int) {
	c.Conn.mu.Lock()
	defer c.Conn.mu.Unlock()
	return c.queued, c.bytes
}

func (c *client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// world is all that a hub needs of others.
type world struct {
	mu        sync.Mutex
	connect   func() // called by Connect
	connected map[string]bool
	refreshed map[string]int
	hints     map[string]int64
	asked     [][]string // exactly
	roughly   [][]string
	hinted    [][]string
	submit    Post
	askTakes  time.Duration
	due       []string // users
	taken     int
	done      [][]string
	presented [][]string
	present   func() ([]fn.Result, error)
	down      bool // Redis
}

var errDown = errors.New("down")

func (w *world) Connect(_ context.Context, c im.Conn) (im.Conn, []im.Displaced, error) {
	w.mu.Lock()
	f := w.connect
	w.mu.Unlock()
	if f != nil {
		f()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return c, nil, errDown
	}
	w.connected[c.ID] = true
	c.Since = im.Now()
	return c, nil, nil
}

func (w *world) Refresh(_ context.Context, conns []im.Conn) ([]im.Displaced, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errDown
	}
	for _, c := range conns {
		w.connected[c.ID] = true
		w.refreshed[c.ID]++
	}
	return nil, nil
}

func (w *world) Disconnect(_ context.Context, conns ...im.Conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.connected, c.ID)
	}
	return nil
}

func (w *world) Due(context.Context) ([]string, func(context.Context) error, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken++
	if w.down {
		return nil, nil, errDown
	}
	users := w.due
	return users, func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.done = append(w.done, users)
		w.due = nil
		return nil
	}, nil
}

func (w *world) Present(_ context.Context, events []event.Event) ([]fn.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var users []string
	out := make([]fn.Result, len(events))
	for i, e := range events {
		users = append(users, e.Subject)
		out[i] = fn.Result{ID: e.ID, Status: 204}
	}
	w.presented = append(w.presented, users)
	if w.present != nil {
		return w.present()
	}
	return out, nil
}

func (w *world) Ended(context.Context, []string) (map[string]bool, error) { return nil, nil }

func (w *world) Hints(_ context.Context, users []string) (map[string]int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hinted = append(w.hinted, users)
	if w.down {
		return nil, errDown
	}
	out := make(map[string]int64)
	for _, u := range users {
		if n, ok := w.hints[u]; ok {
			out[u] = n
		}
	}
	return out, nil
}

func (w *world) Ask(_ context.Context, users []string, exact bool) (map[string]int64, error) {
	time.Sleep(w.askTakes)
	w.mu.Lock()
	defer w.mu.Unlock()
	if exact {
		w.asked = append(w.asked, users)
	} else {
		w.roughly = append(w.roughly, users)
	}
	return map[string]int64{}, nil
}

func (w *world) Verify(token string) (im.Caller, time.Time, error) {
	if token == "panic" {
		panic("at the disco")
	}
	ttl, err := time.ParseDuration(token)
	if err != nil {
		return im.Caller{}, time.Time{}, im.Errorf(im.Unauthenticated, "no token")
	}
	return im.Caller{User: "ann", Session: "s"}, time.Now().Add(ttl), nil
}

func (w *world) Submit(ctx context.Context, events []event.Event) ([]fn.Result, error) {
	w.mu.Lock()
	f := w.submit
	w.mu.Unlock()
	return f(ctx, events)
}

func acceptAll(_ context.Context, events []event.Event) ([]fn.Result, error) {
	out := make([]fn.Result, len(events))
	for i, e := range events {
		data, err := json.Marshal(event.Placed{ID: "id", Conversation: im.Conversation(e.Subject), Time: im.Now()})
		if err != nil {
			return nil, err
		}
		out[i] = fn.Result{ID: e.ID, Status: 200, Data: data}
	}
	return out, nil
}

// inBubble runs f with a hub that works, in a synctest bubble.
func inBubble(t *testing.T, f func(t *testing.T, w *world, h *Hub)) {
	t.Helper()
	ring, err := event.ParseKeyring("k:" + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{connected: map[string]bool{}, refreshed: map[string]int{}, hints: map[string]int64{}, submit: acceptAll}
		h := New(Config{
			Gateway: "g", Log: slog.New(slog.DiscardHandler), Tracer: noop.NewTracerProvider().Tracer(""),
			Metrics: NewMetrics(prometheus.NewRegistry()), Ring: ring,
			Verifier: w, Presence: w, Sessions: w, Heads: w, Submit: w.Submit,
			Signal:  func(context.Context, []event.Event) ([]fn.Result, error) { return nil, nil },
			Present: w.Present,
			Evict:   func(context.Context, string, []event.Event) error { return nil },
			Limits: Limits{
				Connections: 10_000, SendRate: 1e6, SendBurst: 1e6, Lanes: 1,
				Ping: 25 * time.Second, Idle: 60 * time.Second, Renew: 10 * time.Second, AntiEntropy: 30 * time.Second, Spread: 10 * time.Second,
			},
		})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		f(t, w, h)
		if err := h.Drain(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
	})
}

// connect connects a user whose token is good for ttl.
func connect(h *Hub, user string, ttl time.Duration) *client {
	c := newClient()
	c.Conn = h.newConn(c, im.Conn{ID: im.NewID(), User: user, Gateway: "g", Session: "s"}, time.Now().Add(ttl))
	h.count.Add(1)
	go h.begin(c.Conn)
	synctest.Wait()
	return c
}

// settle lets d pass, and all that happens by then.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func types(frames []frame.FromServer) string {
	var all []string
	for _, f := range frames {
		all = append(all, f.Type)
	}
	return strings.Join(all, " ")
}
