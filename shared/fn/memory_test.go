package fn_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

// serveFunc serves one function.
func serveFunc(t testing.TB, env *proc.Env, f fn.Func, h fn.Handler) *httptest.Server {
	t.Helper()
	f.New = func(context.Context, *proc.Env) (fn.Handler, error) { return h, nil }
	mux, err := fn.Mount(t.Context(), env, f)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

// begin sends the beginning of a request, and returns its connection, which has
// next to no buffers, and the status it is answered with.
func begin(t testing.TB, srv *httptest.Server, head string) (net.Conn, func() string) {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(2 << 10)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	return conn, func() string {
		line, err := answer.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		for l := line; err == nil && l != "\r\n"; {
			l, err = answer.ReadString('\n')
		}
		_, status, _ := strings.Cut(strings.TrimSpace(line), " ")
		return status
	}
}

func TestP7WhoReadsSlowlyKeepsNoSlotFromOthers(t *testing.T) {
	large := strings.Repeat("x", 16<<20) // more than the buffers of the system take
	srv := serveFunc(t, newEnv(t, map[string]string{"FUNCTION_MAX_IN_FLIGHT": "1"}),
		fn.Func{Name: "f", Accepts: "t", Public: true, Memory: 40 << 20},
		fn.Call(func(_ context.Context, a ask) (ask, error) {
			if a.Name == "large" {
				a.Name = large
			}
			return a, nil
		}))
	for range 3 {
		_, status := begin(t, srv, "POST / HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 16\n\n{\"name\":\"large\"}")
		if got := status(); got != "200 OK" {
			t.Fatalf("who reads slowly is answered %q", got)
		}
		if got := post(t, srv, sealed(t, "1", ask{"small"}))[0]; got.Status != 200 {
			t.Errorf("while another reads slowly: %+v", got)
		}
	}
}

func TestP7TheBodyOfAStrangerIsNotRead(t *testing.T) {
	env := func() *proc.Env { return newEnv(t, nil) }
	event := fn.Func{Name: "f", Accepts: "t"}
	sealedOnly := serveFunc(t, env(), event, fn.On(func(context.Context, []ask) error { return nil }))
	_, client := behind(t, &memory{left: 99}, func(_ context.Context, _ im.Caller, a ask) (ask, error) { return a, nil })
	members := client().srv
	anybody := serveFunc(t, env(), event, fn.Call(func(_ context.Context, a ask) (ask, error) { return a, nil }))
	for _, tt := range []struct {
		name   string
		srv    *httptest.Server
		path   string
		header string
		length int
		want   string
	}{
		{"an event without a seal", sealedOnly, "/", "Ce-Specversion: 1.0\nCe-Id: 1\nCe-Type: t\nCe-Source: s\n", 4 << 20, "422 Unprocessable Entity"},
		{"plain JSON instead of a sealed event", sealedOnly, "/", "Content-Type: application/json\n", 4 << 20, "422 Unprocessable Entity"},
		{"a call without a token", members, "/f", "Content-Type: application/json\n", 4 << 20, "401 Unauthorized"},
		{"a call with a token that is none", members, "/f", "Content-Type: application/json\nAuthorization: Bearer x.y.z\n", 4 << 20, "401 Unauthorized"},
		{"a long call of anybody", anybody, "/", "Content-Type: application/json\n", 1 << 20, "422 Unprocessable Entity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, status := begin(t, tt.srv, fmt.Sprintf("POST %s HTTP/1.1\nHost: x\n%sContent-Length: %d\nExpect: 100-continue", tt.path, tt.header, tt.length))
			got := status()
			if tt.srv == anybody && got == "100 Continue" { // what is too much is found out by reading
				io.Copy(conn, io.LimitReader(zeros{}, 256<<10))
				got = status()
			}
			if got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// What is sent of bodies is held within the budget, whoever sends it, and is
// free again when they are gone.
func TestP7BodiesUnderWayAreBoundedByBytes(t *testing.T) {
	const limit, each = 128 << 20, 3 << 20
	env := newEnv(t, map[string]string{"MEMORY_LIMIT": fmt.Sprint(limit)})
	budgets, err := env.Budgets()
	if err != nil {
		t.Fatal(err)
	}
	srv := serveFunc(t, env, fn.Func{Name: "f", Accepts: "t"}, fn.On(func(context.Context, []ask) error { return nil }))
	var held []net.Conn
	refused := 0
	part := bytes.Repeat([]byte(" "), each)
	for range 12 {
		conn, status := begin(t, srv, "POST / HTTP/1.1\nHost: x\nContent-Type: application/cloudevents-batch+json\nContent-Length: 4194304\nExpect: 100-continue")
		if got := status(); got != "100 Continue" {
			t.Fatalf("answered %q", got)
		}
		free := budgets.Bodies.Lent()
		go conn.Write(part)
		imtest.Until(t, "a body is read or refused", func() bool {
			if lent := budgets.Bodies.Lent(); lent >= free+4*each {
				held = append(held, conn)
				return true
			} else if lent == free && refusedBy(conn) {
				refused++
				return true
			}
			return false
		})
	}
	if most := int(budgets.Bodies.Size() / (4 * each)); len(held) == 0 || len(held) > most || refused != 12-len(held) {
		t.Errorf("%d bodies of %d are held, %d were refused; %d fit", len(held), each, refused, most)
	}
	for _, c := range held {
		c.Close()
	}
	imtest.Until(t, "nothing is lent to nobody", func() bool { return budgets.Bodies.Lent() == 0 })
	if got := post(t, srv, sealed(t, "1", ask{}))[0]; got.Status != 204 {
		t.Errorf("afterwards: %+v", got)
	}
}

// refusedBy reports whether a request was answered by 429 by now.
func refusedBy(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	b := make([]byte, 64)
	n, _ := conn.Read(b)
	return strings.Contains(string(b[:n]), " 429 ")
}

// A heavy call waits until there is memory for it, and no more than two of one
// user are made at a time; another's are.
func TestP7HeavyCallsAreMadeAsThereIsMemoryForThem(t *testing.T) {
	var now, most, mine atomic.Int64
	release := make(chan struct{})
	gate := &memory{left: 1000}
	_, client := behindFunc(t, fn.Func{Name: "f", Accepts: "t", Public: true, Memory: 30 << 20}, gate, func(_ context.Context, c im.Caller, a ask) (ask, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		mine.Add(1)
		<-release
		return a, nil
	})
	ann := client()
	var all sync.WaitGroup
	var busy atomic.Int64
	for range 12 {
		all.Go(func() {
			if got := ann.call("f", "", `{"name":"x"}`); strings.HasPrefix(got, "429") {
				busy.Add(1)
			} else if !strings.HasPrefix(got, "200") {
				t.Errorf("answered %s", got)
			}
		})
	}
	imtest.Until(t, "two are made", func() bool { return mine.Load() == 2 && busy.Load() >= 4 }) // two are made, six wait, and the others are told so
	bob := client()
	for range 2 {
		all.Go(func() {
			if got := bob.call("f", "", `{"name":"x"}`); !strings.HasPrefix(got, "200") {
				t.Errorf("another is answered %s", got)
			}
		})
	}
	imtest.Until(t, "those who waited are served", func() bool { return mine.Load() == 4 })
	close(release)
	all.Wait()
	if most.Load() > 4 {
		t.Errorf("%d calls of 30 MiB were made at a time, and there is memory for 4", most.Load())
	}
}

// What it costs to hand a request of one sealed event to a function that does
// nothing, without a network.
func BenchmarkOneEvent(b *testing.B) {
	mux, err := fn.Mount(b.Context(), newEnv(b, nil), fn.Func{Name: "f", Accepts: "t",
		New: func(context.Context, *proc.Env) (fn.Handler, error) {
			return fn.On(func(context.Context, []ask) error { return nil }), nil
		}})
	if err != nil {
		b.Fatal(err)
	}
	e := sealed(b, "1", ask{strings.Repeat("x", 200)})
	b.ReportAllocs()
	for b.Loop() {
		r, err := fn.NewRequest(b.Context(), "/", &e)
		if err != nil {
			b.Fatal(err)
		}
		w := httptest.NewRecorder()
		if mux.ServeHTTP(w, r); w.Code != http.StatusNoContent {
			b.Fatal(w.Code)
		}
	}
}
