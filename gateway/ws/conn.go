package ws

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// The states of a connection, in their order.
const (
	opening = iota // what is pushed waits behind the welcome
	open
	closing // a close frame is under way, nothing more is taken from the client
	closed
)

// What is kept nowhere waits only in a queue that is shorter than this, and
// comes to a connection only so often.
const (
	maxEphemeral      = 16 << 10 // bytes
	maxEphemeralQueue = 64       // frames
	ephemeralRate     = 50       // per second: the typing of a large group, the signals of a call
	ephemeralBurst    = 200
)

// A Conn is one connection. While it is idle it costs its reader's goroutine
// and little else: a writer runs only while there is something to write.
type Conn struct {
	hub       *Hub
	transport transport
	who       im.Conn
	lane      *lane

	expires  atomic.Int64 // when the access token does, Unix time in ns
	lastSeen atomic.Int64 // when a frame or pong came last, Unix time in ns
	reading  atomic.Int64 // when the frame began that is being read, Unix time in ns; 0 if there is none
	silent   atomic.Bool  // its token is a bot's that is not good for writing
	since    atomic.Int64 // when it was made, as presence has it; 0 while joining

	mu       sync.Mutex
	changed  sync.Cond // state, writing or inFlight
	state    int
	out      []outgoing
	queued   int                        // frames in out or being written
	bytes    int                        // of them
	writing  bool                       // a writer runs
	inFlight int                        // messages that chat-ingest has not answered
	settling bool                       // no further messages are taken
	holds    map[im.Conversation][]hold // what is waited for, in its order; nil until something is
	head     int64                      // the client has been told that its inbox reaches to here

	ephemeral *rate.Limiter // of what others send that is kept nowhere; nil until something is

	// The reader's own.
	sent   int64 // messages that the client has sent
	sends  *rate.Limiter
	others *rate.Limiter // of whatever is no message: other frames, frames that make no sense, pings, pongs
	flood  *rate.Limiter // of what went beyond the other two; nil until then
	bad    int           // frames in a row that made no sense
	typed  typed

	// The ring's own.
	slot, place int
	pinged      int64 // Unix time in ns
}

func (h *Hub) newConn(t transport, who im.Conn, expires time.Time) *Conn {
	c := &Conn{
		hub:       h,
		transport: t,
		who:       who,
		lane:      h.laneOf(who.ID),
		sends:     rate.NewLimiter(rate.Limit(h.SendRate), h.SendBurst),
		others:    rate.NewLimiter(rate.Limit(h.SendRate), h.SendBurst),
	}
	c.changed.L = &c.mu
	c.expires.Store(expires.UnixNano())
	now := time.Now().UnixNano()
	c.lastSeen.Store(now)
	c.pinged = now
	return c
}

// write puts a frame of text into the queue.
func (c *Conn) write(b []byte) { c.enqueue(text(b), 0) }

// writeHead puts a frame into the queue that tells the client that its inbox
// reaches to seq.
func (c *Conn) writeHead(b []byte, seq int64) { c.enqueue(text(b), seq) }

// writeMessage is writeHead of a message that was placed at a time.
func (c *Conn) writeMessage(b []byte, seq int64, placed im.Time) {
	c.enqueue(outgoing{websocket.TextMessage, b, placed}, seq)
}

// offer puts a frame into the queue that is kept nowhere: a signal, what is
// typed, who is online. It is dropped, and false returned, if much waits
// already or more of its kind came than anybody needs: others never make a
// connection too slow by what its user did not ask for.
func (c *Conn) offer(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued >= maxEphemeralQueue || c.queued > 0 && c.bytes+len(b) > maxEphemeral {
		return false
	}
	if c.ephemeral == nil {
		c.ephemeral = rate.NewLimiter(ephemeralRate, ephemeralBurst)
	}
	if !c.ephemeral.Allow() {
		return false
	}
	c.put(text(b))
	return true
}

// ping asks the client for a sign of life.
func (c *Conn) ping() { c.enqueue(outgoing{op: websocket.PingMessage}, 0) }

func text(b []byte) outgoing { return outgoing{op: websocket.TextMessage, body: b} }

func (c *Conn) enqueue(f outgoing, seq int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(f)
	c.head = max(c.head, seq)
}

// put puts a frame into the queue, or closes the connection if the queue is
// full. c.mu is held.
func (c *Conn) put(f outgoing) {
	if c.state >= closing {
		return
	}
	if c.queued >= maxQueue || c.bytes+len(f.body) > maxQueued {
		c.shut(frame.CloseSlow, 0)
		return
	}
	c.append(f)
	if c.state != opening {
		c.startWriter()
	}
}

func (c *Conn) append(f outgoing) {
	c.out = append(c.out, f)
	c.queued++
	c.bytes += len(f.body)
}

// welcome lets out what is in the queue, after its first frame.
func (c *Conn) welcome(f frame.FromServer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != opening {
		return
	}
	c.state = open
	c.head = max(c.head, f.Head)
	waiting := c.out
	c.out = make([]outgoing, 0, 1+len(waiting))
	c.append(text(f.Encode()))
	c.out = append(c.out, waiting...)
	c.startWriter()
}

func (c *Conn) startWriter() {
	if !c.writing {
		c.writing = true
		go c.drainQueue()
	}
}

// drainQueue is the writer: it writes until the queue is empty.
func (c *Conn) drainQueue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 {
		batch := c.out
		c.out = nil
		c.mu.Unlock()
		err := c.transport.Write(batch)
		if err == nil {
			c.hub.Metrics.written(batch)
		}
		c.mu.Lock()
		c.queued -= len(batch)
		for _, f := range batch {
			c.bytes -= len(f.body)
		}
		if err != nil {
			c.abandon()
		}
	}
	c.writing = false
	c.changed.Broadcast()
}

// abandon drops a connection that cannot be written to. c.mu is held.
func (c *Conn) abandon() {
	c.discard()
	if c.state < closing {
		c.state = closing
		c.hub.Metrics.closes.WithLabelValues("lost").Inc()
	}
	c.transport.SetReadDeadline(time.Unix(1, 0)) // ends the reader, which cleans up
	c.changed.Broadcast()
}

// discard empties the queue. c.mu is held.
func (c *Conn) discard() {
	for _, f := range c.out {
		c.queued--
		c.bytes -= len(f.body)
	}
	c.out = nil
}

// Close closes the connection for a reason, after what waits to be written.
// The client is told to wait for retry before it comes back, unless it is 0.
func (c *Conn) Close(why frame.Close, retry time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(why, retry)
}

// shut is Close while c.mu is held.
func (c *Conn) shut(why frame.Close, retry time.Duration) {
	if c.state >= closing {
		return
	}
	c.state = closing
	if why == frame.CloseSlow {
		c.discard() // what it has not read so far it would not read now
	}
	bye := frame.FromServer{Type: frame.Bye, Code: why.Code, Reason: why.Reason, Reconnect: why.Reconnect(), RetryAfterMS: retry.Milliseconds()}
	c.append(text(bye.Encode()))
	c.append(outgoing{op: websocket.CloseMessage, body: websocket.FormatCloseMessage(why.Code, why.Reason)})
	by := time.Now().Add(closeWait)
	c.transport.SetReadDeadline(by)
	c.transport.Hurry(by)
	c.startWriter()
	c.changed.Broadcast()
	c.hub.Metrics.closes.WithLabelValues(why.Reason).Inc()
	c.hub.Log.Debug("closing", "user", c.who.User, "conn", c.who.ID, "reason", why.Reason)
}

// finish closes the transport after its reader has ended. answer is the code of
// the client's close frame, or 0.
func (c *Conn) finish(answer int) {
	c.mu.Lock()
	if c.state < closing {
		c.state = closing
		c.hub.Metrics.closes.WithLabelValues("client").Inc()
		if answer != 0 {
			c.append(outgoing{op: websocket.CloseMessage, body: websocket.FormatCloseMessage(answer, "")})
			c.transport.Hurry(time.Now().Add(closeWait))
			c.startWriter()
		} else {
			c.discard()
		}
	}
	c.changed.Broadcast()
	for c.writing { // not for long: each write has a deadline
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.transport.Close()
}

// end says that nothing is left of c.
func (c *Conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = closed
	c.changed.Broadcast()
}

// take waits until fewer than maxInFlight messages of c are in flight and
// counts one more. It reports whether c takes messages still.
func (c *Conn) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inFlight >= maxInFlight && c.state == open && !c.settling {
		c.changed.Wait() // each message is answered, whatever happens
	}
	if c.state != open || c.settling {
		return false
	}
	c.inFlight++
	return true
}

// answer writes the answer to a message that was in flight.
func (c *Conn) answer(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight == maxInFlight || c.inFlight == 1 {
		c.changed.Broadcast()
	}
	c.inFlight--
	c.put(text(b))
}
