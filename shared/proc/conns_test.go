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
