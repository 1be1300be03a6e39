// Package ws holds the WebSocket connections of a gateway: it lets clients in,
// takes what they send to chat-ingest, writes to them what is pushed, tells
// them when they are behind, and closes them with a reason that says whether to
// come back.
//
// It does not know how events reach functions, nor where presence is kept;
// what it needs of them is in [Config].
package ws

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// Post posts events to one function or gateway, as fn.Post does.
type Post func(context.Context, []event.Event) ([]fn.Result, error)

// A Verifier tells who the bearer of an access token is, and until when.
type Verifier interface {
	Verify(token string) (im.Caller, time.Time, error)
}

// Presence is who is connected where, as all gateways see it. A connection is
// there while its lease lasts. Of connections that exclude each other the one
// that was made last stays, whichever gateways hold them.
type Presence interface {
	// Connect adds a connection and returns it with Since set, and those that
	// have to go for it.
	Connect(ctx context.Context, c im.Conn) (im.Conn, []im.Displaced, error)
	// Refresh extends the leases of connections, adds those that are not
	// there, and returns which have to go.
	Refresh(ctx context.Context, conns []im.Conn) ([]im.Displaced, error)
	Disconnect(ctx context.Context, conns ...im.Conn) error
	// Due returns some users who may have come or gone since others were told,
	// and leaves them to the caller for a while. done says that it was looked
	// at; otherwise they are due again.
	Due(ctx context.Context) (users []string, done func(context.Context) error, err error)
}

// Sessions knows which sessions have ended while access tokens of them may
// still be good.
type Sessions interface {
	Ended(ctx context.Context, sessions []string) (map[string]bool, error)
}

// Heads knows the greatest seq in users' inboxes.
type Heads interface {
	// Hints returns what can be told without asking a store; users of whom
	// nothing is known are absent.
	Hints(ctx context.Context, users []string) (map[string]int64, error)
	// Ask returns the heads of at most MaxHeads users, from the store if exact.
	Ask(ctx context.Context, users []string, exact bool) (map[string]int64, error)
}

// MaxHeads is the most users whose heads are asked for at once.
const MaxHeads = 500

// Config is what a Hub is made of.
type Config struct {
	Gateway string // id of this gateway
	Log     *slog.Logger
	Tracer  trace.Tracer
	Metrics *Metrics
	Ring    *event.Keyring

	Verifier Verifier
	Presence Presence
	Sessions Sessions
	Heads    Heads
	Submit   Post                                                                  // to chat-ingest
	Signal   Post                                                                  // to push-signal
	Present  Post                                                                  // to push-presence
	Evict    func(ctx context.Context, gateway string, events []event.Event) error // to another gateway
	Origins  origin.List                                                           // of pages that may connect, besides those of the same host
	Limits
}

// Limits are the numbers that a deployment chooses.
type Limits struct {
	Connections int           // of this gateway
	SendRate    float64       // messages per second of one connection, and as many other frames, pings and pongs among them
	SendBurst   int           // as many more at once
	Lanes       int           // requests to chat-ingest at a time
	Ping        time.Duration // between pings
	Idle        time.Duration // without a frame or pong, before a connection is closed
	Renew       time.Duration // between renewals of a connection's presence
	AntiEntropy time.Duration // between comparisons of heads
	Spread      time.Duration // over which the clients of a draining gateway come back
}

// Limits that a deployment does not choose.
const (
	maxQueue    = 256     // frames waiting to be written to one connection
	maxQueued   = 1 << 20 // bytes of them
	maxInFlight = 64      // messages of one connection that chat-ingest has not answered
	maxBad      = 10      // frames in a row that made no sense

	sendWait    = 5 * time.Second  // for room in a lane
	postTimeout = 5 * time.Second  // for the answer to a batch
	headWait    = 3 * time.Second  // for the head that a welcome tells
	writeWait   = 30 * time.Second // for a client to take a piece of what is written: a slow line is no dead one, and what waits meanwhile is bounded
	readWait    = 30 * time.Second // for a frame to come to its end
	closeWait   = 2 * time.Second  // for a client to answer a close
	redisWait   = time.Second      // for what is asked while a client connects
	redisPause  = time.Second      // without asking, after it could not be reached
	tokenGrace  = 5 * time.Second  // after the token expired
	typingEvery = 2 * time.Second  // a user is told at most that often that another types
	settleWait  = 6 * time.Second  // for messages in flight when draining
	maxEvicting = 64               // posts to other gateways at a time
	drainers    = 256              // connections closed at a time when draining
)

// A Hub holds the connections of a gateway. It is an http.Handler that takes
// requests to open one.
type Hub struct {
	Config
	source   string // of its events
	lanes    []*lane
	signals  *batcher[*signalling]
	headAsks *batcher[*headAsk]
	arrived  chan struct{} // holds one: somebody has connected

	count    atomic.Int64
	draining atomic.Bool
	redis    breaker
	evicting *semaphore.Weighted // posts to other gateways under way
	seed     maphash.Seed
	shards   [64]shard
	ring     ring
}

// shard is some of the users and their connections here.
type shard struct {
	mu    sync.Mutex
	users map[string][]*Conn
}

// New returns a hub that holds no connection yet. Run makes it work.
func New(cfg Config) *Hub {
	h := &Hub{Config: cfg, source: "gateway/" + cfg.Gateway, seed: maphash.MakeSeed(), evicting: semaphore.NewWeighted(maxEvicting), arrived: make(chan struct{}, 1)}
	for i := range h.shards {
		h.shards[i].users = make(map[string][]*Conn)
	}
	cfg.Metrics.limit.Add(float64(cfg.Connections))
	for range cfg.Lanes {
		h.lanes = append(h.lanes, newLane(h))
	}
	h.signals = &batcher[*signalling]{in: make(chan *signalling, laneQueue), size: func(s *signalling) int { return eventSize(s.event) }, work: h.postSignals}
	h.headAsks = &batcher[*headAsk]{in: make(chan *headAsk, laneQueue), size: func(*headAsk) int { return 0 }, work: h.askHeads}
	return h
}

// Run does the work of h that no request of a client starts, and returns when
// ctx is done and the lanes have stopped. Messages that are in a lane then are
// refused: drain first.
func (h *Hub) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range h.lanes {
		all.Go(func() { l.run(ctx) })
	}
	all.Go(func() { h.signals.run(ctx) })
	all.Go(func() { h.headAsks.run(ctx) })
	all.Go(func() { h.ring.walk(ctx, h.Ping/5, h.keepAlive) })
	all.Go(func() { h.ring.walk(ctx, h.Renew, func(conns []*Conn) { h.renew(ctx, conns) }) })
	all.Go(func() { h.antiEntropy(ctx) })
	all.Go(func() { h.announce(ctx) })
	all.Wait()
}

func (h *Hub) shard(user string) *shard {
	return &h.shards[maphash.String(h.seed, user)%uint64(len(h.shards))]
}

// add makes c one of the connections that are pushed to.
func (h *Hub) add(c *Conn) {
	s := h.shard(c.who.User)
	s.mu.Lock()
	s.users[c.who.User] = append(s.users[c.who.User], c)
	s.mu.Unlock()
	h.ring.add(c)
	h.Metrics.connections.Inc()
}

// remove undoes add.
func (h *Hub) remove(c *Conn) {
	h.ring.remove(c)
	s := h.shard(c.who.User)
	s.mu.Lock()
	conns := s.users[c.who.User]
	for i, o := range conns {
		if o == c {
			conns[i] = conns[len(conns)-1]
			conns[len(conns)-1] = nil
			conns = conns[:len(conns)-1]
			break
		}
	}
	if len(conns) == 0 {
		delete(s.users, c.who.User)
	} else {
		s.users[c.who.User] = conns
	}
	s.mu.Unlock()
	h.Metrics.connections.Dec()
}

// each calls f with each connection of user here.
func (h *Hub) each(user string, f func(*Conn)) {
	s := h.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.users[user] {
		f(c)
	}
}

// Users returns all users who have a connection here.
func (h *Hub) Users() []string {
	var all []string
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for user := range s.users {
			all = append(all, user)
		}
		s.mu.Unlock()
	}
	return all
}

// seal returns a sealed event of this gateway.
func (h *Hub) seal(typ, key string, data any) (event.Event, error) {
	e, err := event.New(typ, h.source, key, data)
	if err == nil {
		h.Ring.Sign(&e)
	}
	return e, err
}

// errPaused says that Redis was not asked.
var errPaused = errors.New("redis could not be reached a moment ago")

// breaker remembers for a moment that something could not be reached, so that
// not everybody who needs it waits to find out.
type breaker struct {
	until atomic.Int64
	doubt atomic.Int32 // rounds of anti-entropy that are not to go by it
}

func (b *breaker) open() bool { return time.Now().UnixNano() < b.until.Load() }

func (b *breaker) note(err error) {
	if err != nil {
		b.until.Store(time.Now().Add(redisPause).UnixNano())
		b.doubt.Store(doubtRounds)
	}
}
