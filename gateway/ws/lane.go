package ws

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// A lane takes the messages of some of the connections to chat-ingest, with one
// request in flight, so that each connection's stay in order.
//
// They stay in order when something fails, too. A client may have sent more
// before it learns that a message was refused for a while (overloaded,
// unavailable). Were those accepted, the one that failed would come after them
// when it is sent again. So the lane refuses the connection's further messages
// in that conversation until those that failed have come again, in their order,
// or until the client can be taken to have given them up.
type lane struct {
	hub *Hub
	batcher[*submission]
}

// submission is a message on its way to chat-ingest.
type submission struct {
	event.Event
	conn         *Conn
	conversation im.Conversation
	id           string // the client's
	nth          int64  // of the messages of its connection
	start        time.Time
	span         trace.Span
}

// A hold is a message that was refused for a while: it is to come before any
// other of its connection and conversation that was sent after it.
type hold struct {
	id    string
	nth   int64     // as it was sent first
	until time.Time // when it is taken to be given up
	back  bool      // it has come again and is in the lane, so it is not given up
}

const (
	holdFor  = 2 * time.Second // longer than what was sent before the refusal was read is on its way
	holdMost = time.Minute     // that a client is waited for which is told to wait itself
	maxHolds = 4 * maxInFlight // of one connection; beyond, order is kept by clients that wait for answers
)

func newLane(h *Hub) *lane {
	l := &lane{hub: h}
	l.batcher = batcher[*submission]{
		in:   make(chan *submission, laneQueue),
		size: func(s *submission) int { return eventSize(&s.Event) },
		work: l.deliver,
	}
	return l
}

// laneOf returns the lane of a connection.
func (h *Hub) laneOf(conn string) *lane {
	return h.lanes[maphash.String(h.seed, conn)%uint64(len(h.lanes))]
}

// submit takes a message of c, which counts it as in flight, and waits for
// room if the lane is full. Each message that is submitted is answered.
func (l *lane) submit(c *Conn, d im.Draft, received im.Time) {
	h := l.hub
	s := &submission{conn: c, id: d.ClientID, nth: c.sent, start: time.Now()}
	s.conversation, _ = d.Conversation(c.who.User) // was checked
	c.comesAgain(s.conversation, s.id)
	ctx, span := h.Tracer.Start(context.Background(), "send", trace.WithSpanKind(trace.SpanKindProducer))
	s.span = span
	e, err := event.New(event.MessageSubmitted, h.source, string(s.conversation), event.Submitted{
		From: c.who.User, Device: c.who.Device, At: received, Draft: d,
	})
	if err != nil {
		l.refuse(s, err)
		return
	}
	e.TraceParent = fn.TraceParent(ctx)
	h.Ring.Sign(&e)
	s.Event = e
	if !l.put(s, sendWait) {
		c.hold(s.conversation, s.id, s.nth, 0)
		l.refuse(s, &im.Error{Kind: im.Overloaded, Msg: "too many messages are waiting here: send it again, with the same id", RetryAfter: comeAgain()})
	}
}

// deliver posts a batch and has each message answered.
func (l *lane) deliver(ctx context.Context, batch []*submission) {
	batch = l.release(batch)
	if len(batch) == 0 {
		return
	}
	events := make([]event.Event, len(batch))
	for i, s := range batch {
		events[i] = s.Event
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	results, err := l.hub.Submit(ctx, events)
	cancel()
	if err == nil && len(results) != len(batch) {
		err = errors.New("chat-ingest answered another number of messages than it was asked")
	}
	if err != nil {
		l.hub.Log.Warn("submitting messages", "function", "chat-ingest", "count", len(batch), "err", err)
		err = &im.Error{Kind: im.Unavailable, Msg: "messages cannot be taken just now: send it again, with the same id", Err: err, RetryAfter: comeAgain()}
	}
	for i, s := range batch {
		if err != nil {
			l.fail(s, err)
			continue
		}
		placed, err := verdict(results[i])
		if err != nil {
			l.fail(s, err)
			continue
		}
		l.hub.Metrics.accepted(time.Since(s.start))
		s.span.End()
		s.conn.answer(frame.AppendAccepted(make([]byte, 0, 256), s.id, placed.ID, placed.Conversation, placed.Time))
	}
}

// verdict returns what chat-ingest said of a message. 415 and 422 are never
// about what a client sent, so they are not final.
func verdict(r fn.Result) (event.Placed, error) {
	var placed event.Placed
	err := r.Err()
	if err == nil {
		err = jsonv2.Unmarshal(r.Data, &placed)
		if err == nil && placed.ID == "" {
			err = errors.New("chat-ingest accepted a message without saying under which id")
		}
		return placed, err
	}
	if r.Status == http.StatusUnprocessableEntity || r.Status == http.StatusUnsupportedMediaType {
		if !im.KindOf(err).Transient() {
			err = fmt.Errorf("chat-ingest answered %d: %v", r.Status, err)
		}
	}
	return placed, err
}

// fail refuses a message that chat-ingest did not take.
func (l *lane) fail(s *submission, err error) {
	if im.KindOf(err).Transient() {
		s.conn.hold(s.conversation, s.id, s.nth, retryAfter(err))
	}
	l.refuse(s, err)
}

func (l *lane) refuse(s *submission, err error) {
	l.hub.Metrics.refused(im.KindOf(err))
	s.span.SetStatus(codes.Error, string(im.KindOf(err)))
	s.span.End()
	s.conn.answer(frame.NewRefused(s.id, im.ProblemOf(err), retryAfter(err)).Encode())
}

// hold keeps back what was sent in a conversation after the nth message of c
// until that one comes again, which the client is told to wait with. One that is
// waited for already keeps its place.
func (c *Conn) hold(conv im.Conversation, id string, nth int64, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdLocked(conv, id, nth, time.Now(), wait)
}

func (c *Conn) holdLocked(conv im.Conversation, id string, nth int64, now time.Time, wait time.Duration) {
	list := c.holds[conv]
	until := now.Add(min(wait, holdMost) + holdFor)
	if i := slices.IndexFunc(list, func(h hold) bool { return h.id == id }); i >= 0 {
		list[i].until, list[i].back = until, false
		return
	}
	if c.waitedFor() >= maxHolds {
		c.forgetHolds(now)
		if list = c.holds[conv]; c.waitedFor() >= maxHolds {
			return
		}
	}
	if c.holds == nil {
		c.holds = make(map[im.Conversation][]hold)
	}
	// In their order: what is refused as it comes can precede the failure of what
	// is in the lane still.
	at := len(list)
	for at > 0 && list[at-1].nth > nth {
		at--
	}
	c.holds[conv] = slices.Insert(list, at, hold{id: id, nth: nth, until: until})
}

// waitedFor returns how many messages are waited for. c.mu is held.
func (c *Conn) waitedFor() int {
	n := 0
	for _, list := range c.holds {
		n += len(list)
	}
	return n
}

// forgetHolds forgets what is taken to be given up. c.mu is held.
func (c *Conn) forgetHolds(now time.Time) {
	for conv, list := range c.holds {
		c.keepHolds(conv, slices.DeleteFunc(list, func(h hold) bool { return h.over(now) }))
	}
}

// keepHolds has these, and no others, waited for in a conversation. c.mu is held.
func (c *Conn) keepHolds(conv im.Conversation, list []hold) {
	if len(list) == 0 {
		delete(c.holds, conv)
		return
	}
	c.holds[conv] = list
}

func (h hold) over(now time.Time) bool { return !h.back && !now.Before(h.until) }

// comesAgain notes that a message goes into the lane, if it is waited for.
func (c *Conn) comesAgain(conv im.Conversation, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, h := range c.holds[conv] {
		if h.id == id {
			c.holds[conv][i].back = true
		}
	}
}

// isHeld reports whether s, whose turn it is in the lane, is held back, and for
// how long the client has to wait with what comes before it: it is waited for
// then, too. The one that is waited for before all others passes, and
// has the place that it had at first, should it fail again.
func (s *submission) isHeld(now time.Time) (held bool, wait time.Duration) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.holds[s.conversation]
	for len(list) > 0 && list[0].id != s.id && list[0].over(now) {
		list = list[1:]
	}
	awaited := len(list) > 0 && list[0].id == s.id
	if awaited {
		s.nth, list = list[0].nth, list[1:]
	}
	c.keepHolds(s.conversation, list)
	if awaited || len(list) == 0 || s.nth <= list[0].nth {
		return false, 0
	}
	wait = max(0, list[0].until.Sub(now)-holdFor)
	c.holdLocked(s.conversation, s.id, s.nth, now, wait)
	return true, wait
}

// release returns those of a batch that are not held back, and refuses the
// others.
func (l *lane) release(batch []*submission) []*submission {
	free, now := batch[:0], time.Now()
	for _, s := range batch {
		if held, wait := s.isHeld(now); held {
			l.refuse(s, &im.Error{Kind: im.Unavailable, Msg: "an earlier message of this conversation was refused for a while: send that one again first", RetryAfter: max(wait, comeAgain())})
		} else {
			free = append(free, s)
		}
	}
	return free
}

// comeAgain returns how long a client is to wait after something of ours
// failed, different for each so that they do not come all at once.
func comeAgain() time.Duration { return spread(200*time.Millisecond, 800*time.Millisecond) }

// spread returns a random duration between two.
func spread(from, to time.Duration) time.Duration {
	return from + rand.N(max(to-from, 1))
}
