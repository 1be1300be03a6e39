package ws

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// closeTooLarge is RFC 6455's own code, with the bye that all closes have.
var closeTooLarge = frame.Close{Code: websocket.CloseMessageTooBig, Reason: "too-large"}

// floodBurst is how many times SendBurst may go beyond the rate limit before
// the connection is closed.
const floodBurst = 10

// lastPause is between frames of a connection that is being closed. They are
// read for the answer to the close that may be behind them, and for nothing else.
const lastPause = time.Millisecond

// readBuffers lends a buffer to who reads a frame: a connection that is idle
// holds none.
var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read takes frames from the client until the connection ends. It returns the
// code of the client's close frame, or 0 if there was none.
func (c *Conn) read() int {
	for {
		op, r, err := c.transport.NextReader()
		if err != nil {
			var e *websocket.CloseError
			if errors.As(err, &e) && e.Code != websocket.CloseAbnormalClosure {
				return e.Code
			}
			return 0
		}
		now := time.Now().UnixNano()
		c.lastSeen.Store(now)
		if c.ending() {
			time.Sleep(lastPause)
			continue
		}
		c.reading.Store(now)
		c.readFrame(op, r)
	}
}

func (c *Conn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state >= closing
}

// readFrame takes one frame.
func (c *Conn) readFrame(op int, r io.Reader) {
	f, ok, err := c.parse(op, r)
	if !ok {
		return
	}
	if err != nil {
		c.hub.Metrics.in("bad")
		wait := c.limit(c.others)
		if f.Type == frame.Send && f.ClientID != "" {
			c.refuse(f.ClientID, err) // a message is always answered
		} else if wait == 0 {
			c.complain(err)
		}
		if c.bad++; c.bad >= maxBad {
			c.Close(frame.CloseProtocol, 0)
		}
		return
	}
	c.bad = 0
	c.hub.Metrics.in(f.Type)
	c.handle(f, im.Now())
}

// parse reads one frame. Its buffer is given back before anything is done with
// the frame, which may take a while. It reports whether there is something to
// be done, or complained of.
func (c *Conn) parse(op int, r io.Reader) (f frame.FromClient, ok bool, err error) {
	buf := readBuffers.Get().(*bytes.Buffer)
	defer readBuffers.Put(buf)
	buf.Reset()
	n, err := buf.ReadFrom(io.LimitReader(r, im.MaxFrame+1))
	c.reading.Store(0)
	switch {
	case err != nil: // NextReader will say so again
		return f, false, nil
	case n > im.MaxFrame:
		c.Close(closeTooLarge, 0)
		return f, false, nil
	case op != websocket.TextMessage:
		return f, true, im.Errorf(im.Invalid, "binary frames are not understood here: send JSON as text")
	}
	f, err = frame.Parse(buf.Bytes())
	return f, true, err
}

// handle does what a frame asks.
func (c *Conn) handle(f frame.FromClient, received im.Time) {
	if f.Type == frame.Send {
		c.send(f.Draft, received)
		return
	}
	if wait := c.limit(c.others); wait > 0 {
		if f.Type == frame.Token {
			c.complain(&im.Error{Kind: im.Overloaded, Msg: "too many frames at once: wait before you send more", RetryAfter: wait})
		}
		return // the others are worth nothing later
	}
	switch f.Type {
	case frame.Typing, frame.Signal:
		if c.silent.Load() {
			c.complain(errSilent)
			return
		}
		c.signal(f)
	case frame.Token:
		c.refresh(f.Token)
	case frame.Ping:
		c.write(pong)
	}
}

var pong = frame.FromServer{Type: frame.Pong}.Encode()

// limit takes a token from a bucket and returns 0, or how long to wait for one.
// A connection that goes far beyond is closed.
func (c *Conn) limit(l *rate.Limiter) time.Duration {
	r := l.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return 0
	}
	r.Cancel()
	if c.flood == nil {
		c.flood = rate.NewLimiter(l.Limit(), l.Burst()*floodBurst)
	}
	if !c.flood.Allow() {
		c.Close(frame.CloseFlooding, spread(10*time.Second, 20*time.Second))
	}
	return wait
}

// complain answers a frame that nothing can be done with.
func (c *Conn) complain(err error) {
	p := im.ProblemOf(err)
	c.write(frame.FromServer{Type: frame.Error, Kind: p.Kind, Detail: p.Detail, RetryAfterMS: retryAfter(err).Milliseconds()}.Encode())
}

// refuse answers a message that goes no further.
func (c *Conn) refuse(id string, err error) {
	c.hub.Metrics.refused(im.KindOf(err))
	c.write(frame.NewRefused(id, im.ProblemOf(err), retryAfter(err)).Encode())
}

func retryAfter(err error) time.Duration {
	var e *im.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// send takes a message into the lane of the connection.
func (c *Conn) send(d im.Draft, received im.Time) {
	c.sent++
	if wait := c.limit(c.sends); wait > 0 {
		err := &im.Error{Kind: im.Overloaded, Msg: "too many messages at once: wait before you send more", RetryAfter: wait}
		if conv, bad := d.Conversation(c.who.User); bad == nil {
			c.hold(conv, d.ClientID, c.sent, wait)
		}
		c.refuse(d.ClientID, err)
		return
	}
	if err := d.Check(c.who.User); err != nil {
		c.refuse(d.ClientID, err)
		return
	}
	if c.silent.Load() {
		c.refuse(d.ClientID, errSilent)
		return
	}
	if c.take() {
		c.lane.submit(c, d, received)
	}
}

// errSilent is what who may only read is told.
var errSilent = im.Caller{Scope: string(im.MessagesRead)}.May(im.MessagesWrite)

// mayWrite notes whether the token of a connection is good for writing.
func (c *Conn) mayWrite(who im.Caller) { c.silent.Store(who.May(im.MessagesWrite) != nil) }

// refresh takes a fresh access token in place of the one that is about to expire.
func (c *Conn) refresh(token string) {
	who, expires, err := c.hub.Verifier.Verify(token)
	if err == nil && (who.User != c.who.User || who.Session != c.who.Session) {
		err = im.Errorf(im.Denied, "the access token is of another user or session: open a connection of its own for it")
	}
	if err == nil {
		err = who.May(im.MessagesRead)
	}
	if err != nil {
		c.complain(err)
		return
	}
	c.mayWrite(who)
	c.expires.Store(max(expires.UnixNano(), c.expires.Load()))
	c.write(frame.FromServer{Type: frame.Token, Expires: im.TimeOf(time.Unix(0, c.expires.Load()))}.Encode())
}

// onPing and onPong are called while waiting for a frame. They are frames like
// others: of pings beyond the limit only the later ones are answered, as RFC 6455
// (5.5.3) lets us.
func (c *Conn) onPing(data string) error {
	if c.control() {
		c.enqueue(outgoing{op: websocket.PongMessage, body: []byte(data)}, 0)
	}
	return nil
}

func (c *Conn) onPong(string) error {
	c.control()
	return nil
}

// control takes note of a control frame, and reports whether it is within the
// limit.
func (c *Conn) control() bool {
	if c.ending() {
		time.Sleep(lastPause)
		return false
	}
	c.lastSeen.Store(time.Now().UnixNano())
	return c.limit(c.others) == 0
}
