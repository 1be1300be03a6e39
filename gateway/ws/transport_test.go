package ws

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
)

// dialed returns the transport of a connection whose client reads a little now
// and then, less than is written, until the test ends.
func dialed(t *testing.T) *socket {
	t.Helper()
	opened := make(chan *socket, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := newSocket(w, r, frame.Subprotocol)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}))
	t.Cleanup(srv.Close)
	d := websocket.Dialer{Subprotocols: []string{frame.Subprotocol}, NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := <-opened
	t.Cleanup(func() { c.Close(); s.Close() })
	go func() {
		for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
			if _, err := io.CopyN(io.Discard, c.NetConn(), 8<<10); err != nil {
				return
			}
		}
	}()
	return s
}

// The tests of connections go by the transport of fake_test.go, so what holds
// for it has to hold for the real one.
func TestP7ATransportThatIsHurriedWritesNoLonger(t *testing.T) {
	batch := make([]outgoing, 400)
	for i := range batch {
		batch[i] = outgoing{op: websocket.BinaryMessage, body: bytes.Repeat([]byte{byte(i)}, 60<<10)} // takes the client six seconds
	}
	for _, tt := range []struct {
		name string
		open func() transport
	}{
		{"a socket", func() transport { return dialed(t) }},
		{"the fake", func() transport { c := newClient(); c.block(); return c }},
	} {
		const hurry, slack = 300 * time.Millisecond, 1200 * time.Millisecond
		ended := func(what string, from time.Time, err error) {
			t.Helper()
			if took := time.Since(from); err == nil || took > hurry+slack {
				t.Errorf("%s: %s has ended after %s, %v", tt.name, what, took, err)
			}
		}
		s, begun := tt.open(), make(chan struct{})
		failed := make(chan error, 1)
		go func() { close(begun); failed <- s.Write(batch) }()
		<-begun
		start := time.Now()
		s.Hurry(start.Add(hurry))
		ended("a write that was under way", start, <-failed)
		start = time.Now()
		ended("a write that came too late", start, s.Write(batch[:1]))

		s, start = tt.open(), time.Now()
		s.Hurry(start.Add(hurry))
		ended("a write that began afterwards", start, s.Write(batch))
	}
}
