package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

// slow sends a request, reads the status of its answer, and nothing of the
// rest: the system keeps next to nothing for it.
func slow(t *testing.T, url, token string) (status string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.(*net.TCPConn).SetReadBuffer(2 << 10)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /v1/conversations HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.66\r\nAuthorization: Bearer %s\r\n\r\n", token)
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, status, _ = strings.Cut(strings.TrimSpace(line), " ")
	return status
}

// Whoever is refused is told so, and let go, whether they send what they
// announced or not.
func TestP7NobodyWaitsForABodyThatIsNotRead(t *testing.T) {
	h, err := New(config(t, tidings.OpenAPI, "http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	for request, want := range map[string]string{
		"POST /v1/messages": "401 Unauthorized", "POST /v1/nothing": "404 Not Found", "PATCH /v1/messages": "405 Method Not Allowed",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(imtest.Patience(t)))
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", request)
		all, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 "+want) {
			t.Errorf("%s: %.30q, %v; want %s and the end", request, all, err, want)
		}
	}
}

// Three accounts that read nothing of large answers, as often as they may, take
// no call from anybody else, not even from others at their address.
func TestP7ThreeSlowReadersTakeNoCallFromOthers(t *testing.T) {
	large := []byte(`"` + strings.Repeat("x", 1<<20-2) + `"`)
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer slow") {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
			w.Write(large)
			return
		}
		io.WriteString(w, `{}`)
	}))
	t.Cleanup(functions.Close)
	cfg := config(t, tidings.OpenAPI, functions.URL)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(conn net.Conn, s http.ConnState) { // as proc.Serve has it
		if s == http.StateNew {
			conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	statuses := make(map[string]int)
	for i := range 120 {
		statuses[slow(t, srv.URL, fmt.Sprint("slow", i%3))]++
	}
	if statuses["200 OK"] == 0 || statuses["429 Too Many Requests"] == 0 {
		t.Errorf("who reads slowly is answered %v", statuses)
	}
	if lent := cfg.Memory.Work.Lent(); lent > 3*cfg.Memory.Work.Size()/16 {
		t.Errorf("for three users %d bytes are held", lent)
	}
	for _, from := range []string{"192.0.2.66", "198.51.100.1"} {
		for i := range 100 {
			resp, body := do(t, "GET", srv.URL+"/v1/conversations", "", "Authorization", fmt.Sprint("Bearer other", i), "X-Forwarded-For", from)
			if resp.StatusCode != 200 {
				t.Fatalf("another at %s is answered %s %s", from, resp.Status, body)
			}
		}
	}
}

// What a user or an address has under way is bounded, and counted no longer
// than it is.
func TestP7CallsUnderWayAreBoundedPerUserAndAddress(t *testing.T) {
	release := make(chan struct{})
	var under sync.WaitGroup
	entered := make(chan struct{}, 100)
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(functions.Close)
	cfg := config(t, tidings.OpenAPI, functions.URL)
	cfg.Limits = Limits{PerUser: 2, PerAddress: 8, PerNetworks: 2}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	call := func(user, from string) int {
		method, path, body, auth := "GET", "/v1/conversations", "", "Bearer "+user
		if user == "" {
			method, path, body, auth = "POST", "/v1/sessions", "{}", ""
		}
		resp, _ := do(t, method, srv.URL+path, body, "Authorization", auth, "X-Forwarded-For", from)
		return resp.StatusCode
	}
	begin := func(user, from string) {
		under.Go(func() {
			if got := call(user, from); got != 204 {
				t.Errorf("%q at %s is answered %d", user, from, got)
			}
		})
		<-entered
	}
	full := func(user, from string) {
		t.Helper()
		if got := call(user, from); got != 429 {
			t.Errorf("one too many of %q at %s is answered %d", user, from, got)
		}
	}
	begin("ann", "192.0.2.1")
	begin("ann", "192.0.2.2")
	full("ann", "192.0.2.3") // from wherever
	begin("", "192.0.2.1")
	begin("", "192.0.2.1")
	full("", "192.0.2.1") // a quarter of 8
	for i := range 7 {    // beside ann
		begin(fmt.Sprint("u", i), "192.0.2.1")
	}
	full("bob", "192.0.2.1")
	for i := range 4 { // of a /56, of which 2 × 2 strangers are taken
		begin("", fmt.Sprintf("2001:db8:0:%x::1", i))
	}
	full("", "2001:db8:0:ff::1")
	full("", "2001:db8:0:f000::1") // the /48
	begin("", "2001:db8:1::1")
	close(release)
	under.Wait()
	for _, user := range []string{"ann", "bob", ""} {
		if got := call(user, "192.0.2.1"); got != 204 {
			t.Errorf("afterwards %q is answered %d", user, got)
		}
	}
}

// A body is not read of who has no token for an operation that asks for one.
func TestP7TheBodyOfACallWithoutATokenIsNotRead(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, auth := range []string{"", "Bearer ", "Basic x", "Bearer bad"} {
		body := &counted{n: 60 << 10}
		req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/groups", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 60 << 10
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Expect", "100-continue")
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 || body.n != 60<<10 || len(*calls) > 0 {
			t.Errorf("%q is answered %s; %d bytes are left, %d calls were made", auth, resp.Status, body.n, len(*calls))
		}
	}
}

// counted is a body of so many bytes.
type counted struct{ n int }

func (c *counted) Read(b []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	n := min(len(b), c.n)
	c.n -= n
	return n, nil
}

func TestP7TokensThatAreRememberedAreBoundedAndEnd(t *testing.T) {
	verified, until := 0, time.Now().Add(time.Hour)
	known := newTokens(func(token string) (im.Caller, time.Time, error) {
		verified++
		return im.Caller{User: token}, until, nil
	})
	ask := func(token string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		user, err := known.user(r)
		if err != nil {
			t.Fatal(err)
		}
		return user
	}
	if ask("a") != "a" || ask("b") != "b" || ask("a") != "a" || verified != 2 {
		t.Errorf("two tokens were verified %d times", verified)
	}
	until = time.Now().Add(-time.Second)
	ask("old")
	if ask("old"); verified != 4 {
		t.Errorf("a token that has expired is remembered")
	}
	until = time.Now().Add(time.Hour)
	for i := range maxTokens + 10 {
		ask(fmt.Sprint(i))
	}
	if len(known.of) > maxTokens {
		t.Errorf("%d tokens are remembered", len(known.of))
	}
}

// What the accounts of calls under way cost a call.
func BenchmarkEnter(b *testing.B) {
	cfg := Limits{PerUser: 32, PerAddress: 512, PerNetworks: 4}
	known := newTokens(func(token string) (im.Caller, time.Time, error) {
		return im.Caller{User: token}, time.Now().Add(time.Hour), nil
	})
	s := newCallers(cfg, proc.NewBudget(32<<20))
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 400))
	a := &api{tokens: known, callers: s}
	b.ReportAllocs()
	for b.Loop() {
		who, err := a.who(r, &operation{})
		if err != nil {
			b.Fatal(err)
		}
		v, err := s.enter(who)
		if err != nil {
			b.Fatal(err)
		}
		if err := v.hold(1000); err != nil {
			b.Fatal(err)
		}
		v.leave()
	}
}
