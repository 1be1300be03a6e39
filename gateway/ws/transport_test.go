package ws

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// slowly returns the transport of a connection whose client reads a little now
// and then, less than is written, until the test ends.
func slowly(t *testing.T) *socket {
	t.Helper()
	s, c := dialed(t)
	go func() {
		for tick := time.NewTicker(2 * time.Millisecond); ; <-tick.C {
			if _, err := io.CopyN(io.Discard, c.NetConn(), 8<<10); err != nil {
				return
			}
		}
	}()
	return s
}

// dialed returns the two ends of a connection.
func dialed(t *testing.T) (*socket, *websocket.Conn) {
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
	return s, c
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
		{"a socket", func() transport { return slowly(t) }},
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

func TestP7FragmentsOfNothingComeToAnEnd(t *testing.T) {
	s, c := dialed(t)
	go func() {
		frames := []byte{0x01, 0x80, 0, 0, 0, 0} // the beginning of a text, masked
		for range 1000 {
			frames = append(frames, 0x00, 0x80, 0, 0, 0, 0) // more of it, which is nothing
		}
		for err := error(nil); err == nil; frames = frames[:6*1000] {
			_, err = c.NetConn().Write(frames)
			copy(frames[:6], frames[6:]) // the beginning comes once
		}
	}()
	s.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, r, err := s.NextReader()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if !errors.Is(err, errFragments) {
		t.Errorf("reading ended with %v", err)
	}
}

func TestAMessageInManyFragmentsArrives(t *testing.T) {
	s, c := dialed(t)
	for range 3 {
		want := bytes.Repeat([]byte("x"), im.MaxFrame)
		w, err := c.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(want, 5000) {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, r, err := s.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrive, %v", len(got), err)
		}
	}
}
