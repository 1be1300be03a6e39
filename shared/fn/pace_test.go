package fn

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a listener of one connection, which is at once.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipe) Close() error   { close(p.done); return nil }
func (p pipe) Addr() net.Addr { return &net.TCPAddr{} }

// through serves h at the other end of a connection without buffers.
func through(h http.HandlerFunc) (client net.Conn, end func()) {
	client, server := net.Pipe()
	p := pipe{make(chan net.Conn, 1), make(chan struct{})}
	p.conns <- server
	srv := &http.Server{Handler: h}
	go srv.Serve(p)
	return client, func() { client.Close(); srv.Close() }
}

func TestP7WhoReadsOrSendsTooSlowlyIsCutOff(t *testing.T) {
	const size = 64 << 10
	for _, tt := range []struct {
		name string
		rate int // bytes per second
		cut  bool
	}{
		{"nothing", 0, true},
		{"a quarter of the least", MinPace / 4, true},
		{"a little more than the least", MinPace + MinPace/4, false},
	} {
		t.Run("reading "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				conn, end := through(func(w http.ResponseWriter, _ *http.Request) { ended <- WritePaced(w, make([]byte, size)) })
				var flow sync.WaitGroup
				defer flow.Wait()
				defer end()
				start := time.Now()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				flow.Go(func() {
					trickle(tt.rate, func() error { _, err := io.ReadFull(conn, make([]byte, tt.rate)); return err })
				})
				judge(t, <-ended, time.Since(start), tt.cut, size)
			})
		})
		t.Run("sending "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				conn, end := through(func(w http.ResponseWriter, r *http.Request) {
					_, err := io.ReadAll(NewPacedReader(w, r))
					ended <- err
				})
				var flow sync.WaitGroup
				defer flow.Wait()
				defer end()
				start := time.Now()
				io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n")
				flow.Go(func() { io.Copy(io.Discard, conn) })
				flow.Go(func() {
					trickle(tt.rate, func() error { _, err := conn.Write(bytes.Repeat([]byte("x"), tt.rate)); return err })
				})
				judge(t, <-ended, time.Since(start), tt.cut, size)
			})
		})
	}
}

// trickle lets so many bytes through each second, until that fails.
func trickle(rate int, let func() error) {
	for rate > 0 && let() == nil {
		time.Sleep(time.Second)
	}
}

func judge(t *testing.T, err error, took time.Duration, cut bool, size int) {
	t.Helper()
	if (err != nil) != cut {
		t.Errorf("it ended with %v", err)
	}
	if most := paceGrace + time.Duration(size)*time.Second/MinPace; took > most {
		t.Errorf("it took %v, and %v is the most", took, most)
	}
}
