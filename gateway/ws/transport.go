package ws

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/im"
)

// A transport is a WebSocket as a connection needs it; tests have one of their
// own. One goroutine reads and one writes at a time.
type transport interface {
	// NextReader waits for a message of the client. The reader is good until
	// the next call.
	NextReader() (op int, r io.Reader, err error)
	// Write writes frames one after another, in few system calls.
	Write(frames []outgoing) error
	// SetReadDeadline ends the wait of NextReader at t.
	SetReadDeadline(t time.Time) error
	// Hurry ends all writing at t: a Write that is under way then fails, and so
	// does each that comes later. A second t counts only if it is earlier.
	Hurry(t time.Time)
	Close() error
}

// outgoing is one frame to be written.
type outgoing struct {
	op     int // of RFC 6455
	body   []byte
	placed im.Time // when the message was accepted that it brings; 0 if it brings none
}

// The buffers of a connection are small, as most connections are idle most of
// the time: frames larger than the read buffer are read through it, and write
// buffers are lent only while writing.
const (
	readBuffer  = 512
	writeBuffer = 1024
	corkBuffer  = 32 << 10

	// fragmentRoom is how many bytes the headers of a message's fragments, what
	// comes between them and the beginning of the next message may have.
	fragmentRoom = 16 << 10
)

var (
	writeBuffers sync.Pool
	corkBuffers  = sync.Pool{New: func() any { b := make([]byte, 0, corkBuffer); return &b }}
)

// socket is the transport of a gateway.
type socket struct {
	*websocket.Conn
	wire *wire
}

// newSocket makes a WebSocket of a request.
func newSocket(w http.ResponseWriter, r *http.Request, subprotocol string) (*socket, error) {
	u := websocket.Upgrader{
		HandshakeTimeout: 5 * time.Second,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  writeBuffer,
		WriteBufferPool:  &writeBuffers,
		CheckOrigin:      func(*http.Request) bool { return true }, // is checked before
		Subprotocols:     []string{subprotocol},
	}
	h := &hijacker{ResponseWriter: w}
	c, err := u.Upgrade(h, r, nil)
	if err != nil {
		return nil, err
	}
	return &socket{c, h.wire}, nil
}

// handle has control frames handled: ping and pong are called by NextReader.
// A close ends NextReader and is answered by who called it, after what waits
// to be written.
func (s *socket) handle(ping, pong func(string) error) {
	s.SetPingHandler(ping)
	s.SetPongHandler(pong)
	s.SetCloseHandler(func(int, string) error { return nil })
}

// NextReader waits for a message. What is read for it is bounded: empty fragments
// make no message larger, and would never come to an end.
func (s *socket) NextReader() (int, io.Reader, error) {
	s.wire.bound(0)
	op, r, err := s.Conn.NextReader()
	s.wire.bound(im.MaxFrame + fragmentRoom)
	return op, r, err
}

func (s *socket) Write(frames []outgoing) error {
	s.wire.cork()
	for _, f := range frames {
		if err := s.WriteMessage(f.op, f.body); err != nil {
			s.wire.uncork() // what came before; the connection is broken already
			return err
		}
	}
	return s.wire.uncork()
}

func (s *socket) Hurry(t time.Time) { s.wire.hurry(t) }

// hijacker puts a wire under the WebSocket.
type hijacker struct {
	http.ResponseWriter
	wire *wire
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := boundKernel(c); err != nil {
		c.Close()
		return nil, nil, err
	}
	h.wire = &wire{Conn: c}
	return h.wire, rw, nil
}

const (
	kernelBuffer = 32 << 10   // bytes; Linux doubles them, for what it keeps beside
	piece        = corkBuffer // bytes that have writeWait to go
)

// boundKernel has the kernel take no more for a client than a slow line brings
// within writeWait. By itself it takes megabytes, and lets nobody write until a
// third of them has gone: so what waits would be there and not in the queue,
// which knows what may be dropped, and a line of 10 KiB/s would be taken for
// one that is broken.
func boundKernel(c net.Conn) error {
	if c, ok := c.(*net.TCPConn); ok {
		return c.SetWriteBuffer(kernelBuffer)
	}
	return nil
}

// wire is a network connection whose writes are gathered while it is corked,
// so that many small frames go out in one system call. Each piece that is written
// to the network has writeWait to go, and all of them together what hurry says.
type wire struct {
	net.Conn
	mu     sync.Mutex
	corked *[]byte // what was written since cork, or nil

	room int // bytes that may still be read; 0 is any number. The reader's own

	deadline sync.Mutex // of writes; never held while one is under way
	last     time.Time  // after which nothing is written; zero is never
}

// SetWriteDeadline does nothing: writes set their own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.corked == nil {
		return w.write(p)
	}
	if len(*w.corked)+len(p) > corkBuffer {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > corkBuffer {
		return w.write(p)
	}
	*w.corked = append(*w.corked, p...)
	return len(p), nil
}

// errFragments ends a connection whose message has too much around it.
var errFragments = errors.New("the fragments of a message have too much around them")

// bound has Read fail after so many bytes more; 0 is any number.
func (w *wire) bound(room int) { w.room = room }

func (w *wire) Read(p []byte) (int, error) {
	if w.room == 0 {
		return w.Conn.Read(p)
	}
	n, err := w.Conn.Read(p[:min(len(p), w.room)])
	if w.room -= n; w.room == 0 && err == nil {
		err = errFragments
	}
	return n, err
}

func (w *wire) cork() {
	w.mu.Lock()
	w.corked = corkBuffers.Get().(*[]byte)
	w.mu.Unlock()
}

func (w *wire) uncork() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.flush()
	corkBuffers.Put(w.corked)
	w.corked = nil
	return err
}

// flush writes what was gathered.
func (w *wire) flush() error {
	if len(*w.corked) == 0 {
		return nil
	}
	_, err := w.write(*w.corked)
	*w.corked = (*w.corked)[:0]
	return err
}

func (w *wire) write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var m int
		m, err = w.writePiece(p[:min(len(p), piece)])
		n, p = n+m, p[m:]
	}
	return n, err
}

func (w *wire) writePiece(p []byte) (int, error) {
	w.deadline.Lock()
	by := time.Now().Add(writeWait)
	if !w.last.IsZero() && w.last.Before(by) {
		by = w.last
	}
	w.Conn.SetWriteDeadline(by)
	w.deadline.Unlock()
	n, err := w.Conn.Write(p)
	if err != nil {
		w.reset()
	}
	return n, err
}

// hurry ends all writes at t, those that have not begun included.
func (w *wire) hurry(t time.Time) {
	w.deadline.Lock()
	defer w.deadline.Unlock()
	if w.last.IsZero() || t.Before(w.last) {
		w.last = t
		w.Conn.SetWriteDeadline(t)
	}
}

// reset has what the client did not take forgotten when the connection is
// closed: the kernel would go on offering it for minutes, to whoever it is for.
func (w *wire) reset() {
	if c, ok := w.Conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
}
