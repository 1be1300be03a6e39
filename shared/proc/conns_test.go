package proc

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestP7NobodyTakesAllConnectionsFromOthers(t *testing.T) {
	c := newConns(8, func(a net.Addr) []string {
		host := a.(*net.TCPAddr).IP.String()
		return []string{host, host[:len(host)-2]} // as of IPv6: an address, and what it is within
	})
	var open []net.Conn
	arrive := func(host string, want bool) {
		t.Helper()
		conn := from{addr: &net.TCPAddr{IP: net.ParseIP(host)}, closed: new(bool)}
		c.state(conn, http.StateNew)
		if *conn.closed == want {
			t.Errorf("%s is let in: %t, want %t", host, !want, want)
		}
		if !want {
			c.state(conn, http.StateClosed)
			return
		}
		open = append(open, conn)
	}
	arrive("192.0.2.1", true)
	arrive("192.0.2.1", true)
	arrive("192.0.2.1", false) // a quarter is theirs
	arrive("192.0.2.2", true)
	arrive("192.0.2.3", true)
	arrive("192.0.2.4", false) // and half of what they are within
	arrive("192.0.3.1", true)
	c.state(open[0], http.StateHijacked)
	arrive("192.0.2.1", true)
	for _, conn := range open[1:] {
		c.state(conn, http.StateClosed)
	}
	if c.open != 0 || len(c.at) != 0 {
		t.Errorf("%d connections are counted when all are gone, at %v", c.open, c.at)
	}
}

// from is a connection of which nothing is known but where it comes from.
type from struct {
	net.Conn
	addr   net.Addr
	closed *bool
}

func (f from) RemoteAddr() net.Addr { return f.addr }
func (f from) Close() error         { *f.closed = true; return nil }

func TestP7AServerHoldsABoundedNumberOfConnections(t *testing.T) {
	e := NewEnv(func(name string) string { return map[string]string{"MEMORY_LIMIT": "1048576"}[name] }, slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})) }()
	ask := func() (net.Conn, bool) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return conn, strings.Contains(line, " 200 ")
	}
	var held []net.Conn
	for i := range leastConns {
		conn, ok := ask()
		if !ok {
			t.Fatalf("connection %d is not served", i)
		}
		held = append(held, conn)
	}
	if conn, ok := ask(); ok {
		t.Error("one more than there may be is served")
	} else {
		conn.Close()
	}
	for _, c := range held {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, ok := ask()
		conn.Close()
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no room when the others have gone")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
