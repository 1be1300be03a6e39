package fn_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// open is a gate that everybody may pass, and that remembers nothing.
type open struct{}

func (open) Admit(context.Context, im.Caller, int) (int, error)               { return 0, nil }
func (open) Begin(context.Context, im.Caller, string, string) ([]byte, error) { return nil, nil }
func (open) End(context.Context, im.Caller, string, string, []byte) error     { return nil }

// memory is a gate as redis.Gate is one.
type memory struct {
	mu    sync.Mutex
	left  int  // calls that are admitted
	ended bool // the session
	down  error
	kept  map[string]*stored
}

type stored struct {
	digest string
	answer []byte
}

func (m *memory) Admit(_ context.Context, _ im.Caller, calls int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return 0, im.Errorf(im.Unauthenticated, "it has ended")
	}
	n := min(calls, m.left)
	m.left -= n
	if n < calls {
		return n, &im.Error{Kind: im.Overloaded, Msg: "too often", RetryAfter: 1500 * time.Millisecond}
	}
	return n, nil
}

func (m *memory) Begin(_ context.Context, c im.Caller, key, digest string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.kept[c.User+key]
	switch {
	case m.down != nil:
		return nil, m.down
	case had == nil:
		if m.kept == nil {
			m.kept = map[string]*stored{}
		}
		m.kept[c.User+key] = &stored{digest: digest}
		return nil, nil
	case had.digest != digest:
		return nil, im.Errorf(im.Conflict, "another")
	case had.answer == nil:
		return nil, &im.Error{Kind: im.Conflict, Msg: "under way", RetryAfter: time.Second}
	}
	return had.answer, nil
}

func (m *memory) End(_ context.Context, c im.Caller, key, digest string, answer []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	if answer == nil {
		delete(m.kept, c.User+key)
	} else {
		m.kept[c.User+key] = &stored{digest, answer}
	}
	return nil
}

// behind serves functions "f" and "g", which do the same, behind a gate. Each
// of its clients is another user.
func behind(t *testing.T, g fn.Gate, f func(context.Context, im.Caller, ask) (ask, error)) (srv *httptest.Server, client func() *caller) {
	t.Helper()
	return behindFunc(t, fn.Func{Name: "f", Accepts: "t"}, g, f)
}

// behindFunc is behind of functions that are declared as open is.
func behindFunc(t *testing.T, open fn.Func, g fn.Gate, f func(context.Context, im.Caller, ask) (ask, error)) (srv *httptest.Server, client func() *caller) {
	t.Helper()
	issuer, pub := keys(t)
	open.New = handler(fn.CallAs(g, f))
	other := open
	other.Name = "g"
	mux, err := fn.Mount(t.Context(), newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub}), open, other)
	if err != nil {
		t.Fatal(err)
	}
	srv = httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv, func() *caller {
		jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"})
		if err != nil {
			t.Fatal(err)
		}
		return &caller{t: t, srv: srv, jwt: jwt}
	}
}

type caller struct {
	t   *testing.T
	srv *httptest.Server
	jwt string
}

// call calls a function under a key and returns the answer in one line.
func (c *caller) call(function, key, body string) string {
	c.t.Helper()
	got, _ := c.header(function, key, body)
	return got
}

func (c *caller) header(function, key, body string) (string, http.Header) {
	c.t.Helper()
	header := []string{"Content-Type", event.JSON, "Authorization", "Bearer " + c.jwt}
	if key != "" {
		header = append(header, fn.IdempotencyKey, key)
	}
	resp, answer := rawTo(c.t, c.srv, "/"+function, body, header...)
	return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(answer)), resp.Header
}

func TestTheGateStandsBeforeCalls(t *testing.T) {
	g := &memory{left: 2}
	done := 0
	_, client := behind(t, g, func(_ context.Context, _ im.Caller, a ask) (ask, error) { done++; return a, nil })
	ann := client()
	for range 2 {
		if got := ann.call("f", "", `{"name":"x"}`); got != `200 {"name":"x"}` {
			t.Error(got)
		}
	}
	got, h := ann.header("f", "", `{}`)
	if !strings.HasPrefix(got, `429 {"kind":"overloaded"`) || h.Get("Retry-After") != "2" {
		t.Errorf("one too many: %s %q", got, h.Get("Retry-After"))
	}
	g.left, g.ended = 9, true
	got, h = ann.header("f", "", `{}`)
	if !strings.HasPrefix(got, `401 {"kind":"unauthenticated"`) || h.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("an ended session: %s %v", got, h)
	}
	if done != 2 {
		t.Errorf("done %d times", done)
	}
}

func TestABatchCountsAsTheCallsThatItIs(t *testing.T) {
	g := &memory{left: 3}
	var done []string
	srv, client := behind(t, g, func(_ context.Context, _ im.Caller, a ask) (ask, error) { done = append(done, a.Name); return a, nil })
	var events []event.Event
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		e, err := event.New("t", "test", "", ask{name})
		if err != nil {
			t.Fatal(err)
		}
		e.ID = name
		events = append(events, e)
	}
	events[1].Type = "none" // counts as none
	header := []string{"Content-Type", event.Batch, "Authorization", "Bearer " + client().jwt}
	_, body := rawTo(t, srv, "/f", string(event.AppendBatch(nil, events)), header...)
	var status []string
	for _, part := range strings.Split(body, `{"id":"`)[1:] {
		status = append(status, part[:1]+strings.Split(part, `"status":`)[1][:3])
	}
	if !slices.Equal(status, []string{"a200", "b422", "c200", "d200", "e429"}) || !slices.Equal(done, []string{"a", "c", "d"}) {
		t.Errorf("status %v, done %v: %s", status, done, body)
	}

	g.left = 9
	resp, body := rawTo(t, srv, "/f", string(event.AppendBatch(nil, events)), append(header, fn.IdempotencyKey, "k")...)
	if strings.Count(body, `"status":400`) != 4 || len(done) != 3 {
		t.Errorf("many calls under one key: %d %s", resp.StatusCode, body)
	}
}

func TestACallThatComesAgainIsAnsweredAgain(t *testing.T) {
	fails := map[string]error{
		"denied":   im.Errorf(im.Denied, "you may not"),
		"none":     im.Errorf(im.NotFound, "there is no such thing"),
		"down":     im.Errorf(im.Unavailable, "later"),
		"busy":     &im.Error{Kind: im.Overloaded, Msg: "later", RetryAfter: time.Second},
		"broken":   errors.New("password is swordfish"),
		"too late": context.DeadlineExceeded,
	}
	for _, tt := range []struct {
		name, body, want string
		again            int // times that it is done if it comes three times
	}{
		{"an answer", `{"name":"<é>"}`, `200 {"name":"<é>1"}`, 1},
		{"an answer to nothing", `{}`, `200 {"name":"1"}`, 1},
		{"what may not be", `{"name":"denied"}`, `403 {"kind":"denied","title":"Not allowed","detail":"you may not","status":403}`, 1},
		{"what names nothing", `{"name":"none"}`, `404 {"kind":"not-found","title":"Not found","detail":"there is no such thing","status":404}`, 1},
		{"what nobody understands", `{"nmae":7}`, `400 {"kind":"invalid","title":"Invalid request","detail":"cannot read the data: unknown field \"nmae\"","status":400}`, 0},
		{"a dependency that is down", `{"name":"down"}`, `503 {"kind":"unavailable"`, 3},
		{"too much at once", `{"name":"busy"}`, `429 {"kind":"overloaded"`, 3},
		{"a fault of ours", `{"name":"broken"}`, `500 {"kind":"internal"`, 3},
		{"what took too long", `{"name":"too late"}`, `503 {"kind":"unavailable"`, 3},
		{"a panic", `{"name":"panic"}`, `500 {"kind":"internal"`, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := 0
			_, client := behind(t, &memory{left: 99}, func(_ context.Context, _ im.Caller, a ask) (ask, error) {
				done++
				if a.Name == "panic" {
					panic("at the disco")
				}
				return ask{a.Name + fmt.Sprint(done)}, fails[a.Name]
			})
			ann := client()
			first, h1 := ann.header("f", "key-1", tt.body)
			if !strings.HasPrefix(first, tt.want) {
				t.Errorf("answered %s\nwant     %s", first, tt.want)
			}
			for range 2 {
				again, h := ann.header("f", "key-1", tt.body)
				if again != first || h.Get("Content-Type") != h1.Get("Content-Type") {
					t.Errorf("then     %s", again)
				}
			}
			if done != tt.again {
				t.Errorf("done %d times, want %d", done, tt.again)
			}
		})
	}
}

func TestAKeyIsOfOneCallOfOneUserToOneFunction(t *testing.T) {
	g := &memory{left: 99}
	done := 0
	_, client := behind(t, g, func(_ context.Context, _ im.Caller, a ask) (ask, error) { done++; return ask{fmt.Sprint(done)}, nil })
	ann, bob := client(), client()
	for i, got := range []string{
		ann.call("f", "k", `{}`), bob.call("f", "k", `{}`), ann.call("g", "k", `{}`), ann.call("f", "k2", `{}`), ann.call("f", "", `{}`), ann.call("f", "", `{}`),
	} {
		if want := fmt.Sprintf(`200 {"name":"%d"}`, i+1); got != want {
			t.Errorf("call %d: %s, want %s", i+1, got, want)
		}
	}
	if got := ann.call("f", "k", `{"name":"other"}`); !strings.HasPrefix(got, `409 {"kind":"conflict"`) || done != 6 {
		t.Errorf("another call under the key: %s", got)
	}
	for _, bad := range []string{"with space", "ünïcode", strings.Repeat("x", 65)} {
		if got := ann.call("f", bad, `{}`); !strings.HasPrefix(got, `400 {"kind":"invalid"`) || done != 6 {
			t.Errorf("%q: %s", bad, got)
		}
	}
	if got := ann.call("f", strings.Repeat("x", 64), `{}`); got != `200 {"name":"7"}` {
		t.Error(got)
	}
}

func TestACallUnderWayIsNotBegunAgain(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	done := 0
	_, client := behind(t, &memory{left: 99}, func(_ context.Context, _ im.Caller, a ask) (ask, error) {
		done++
		close(entered)
		<-goOn
		return a, nil
	})
	ann := client()
	first := make(chan string)
	go func() { first <- ann.call("f", "k", `{"name":"x"}`) }()
	<-entered
	got, h := ann.header("f", "k", `{"name":"x"}`)
	if !strings.HasPrefix(got, `409 {"kind":"conflict"`) || h.Get("Retry-After") != "1" {
		t.Errorf("%s %q", got, h.Get("Retry-After"))
	}
	close(goOn)
	if got, again := <-first, ann.call("f", "k", `{"name":"x"}`); got != `200 {"name":"x"}` || again != got || done != 1 {
		t.Errorf("%s, %s, done %d times", got, again, done)
	}
}

func TestCallsAreMadeWithoutAGateThatRemembers(t *testing.T) {
	var got []string
	f := func(ctx context.Context, _ im.Caller, a ask) (ask, error) {
		got = append(got, fn.KeyOf(ctx))
		return a, nil
	}
	g := &memory{left: 99, down: im.Errorf(im.Unavailable, "it is down")}
	_, client := behind(t, g, f)
	ann := client()
	for _, key := range []string{"k1", "k1", ""} {
		if got := ann.call("f", key, `{"name":"x"}`); got != `200 {"name":"x"}` {
			t.Error(got)
		}
	}
	// What it has kept is of a version that nobody reads any more.
	g.down = nil
	ann.call("f", "k2", `{}`)
	for _, s := range g.kept {
		s.answer = []byte("\x00")
	}
	for range 2 {
		if got := ann.call("f", "k2", `{}`); got != `200 {"name":""}` {
			t.Error(got)
		}
	}
	if want := []string{"k1", "k1", "", "k2", "k2"}; !slices.Equal(got, want) {
		t.Errorf("KeyOf = %q, want %q", got, want)
	}
}

func TestAnAnswerThatIsLargeIsNotKept(t *testing.T) {
	g := &memory{left: 99}
	_, client := behind(t, g, func(context.Context, im.Caller, ask) (ask, error) { return ask{strings.Repeat("x", 128<<10)}, nil })
	if got := client().call("f", "k", `{}`); !strings.HasPrefix(got, "200 ") || len(g.kept) != 0 {
		t.Errorf("%.40s, kept %d", got, len(g.kept))
	}
}

// Whoever reads what a gate keeps cannot try passwords against it.
func TestP6TheDigestOfACallIsOfNoUseWithoutAKey(t *testing.T) {
	digest := func(sealKeys string) string {
		g := &memory{left: 99}
		issuer, pub := keys(t)
		srv := mount(t, newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub, "SEAL_KEYS": sealKeys}),
			fn.CallAs(g, func(context.Context, im.Caller, ask) (ask, error) { return ask{}, nil }))
		jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"})
		if err != nil {
			t.Fatal(err)
		}
		raw(t, srv, `{"name":"secret"}`, "Content-Type", event.JSON, "Authorization", "Bearer "+jwt, fn.IdempotencyKey, "k")
		for _, s := range g.kept {
			return s.digest
		}
		t.Fatal("nothing is kept")
		return ""
	}
	other := "k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("y", 32)))
	if a, b := digest(sealKeys), digest(sealKeys); a != b {
		t.Errorf("one call has two digests: %s, %s", a, b)
	}
	if a, b := digest(sealKeys), digest(other); a == b {
		t.Errorf("the digest %s is made without a key", a)
	}
}

// Keys are rotated while calls are repeated, on machines that are not all at the
// same stage of it.
func TestACallThatComesAgainIsKnownAcrossARotationOfSealKeys(t *testing.T) {
	key := func(id, letter string) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
	}
	old, next := key("k1", "x"), key("k2", "y")
	issuer, pub := keys(t)
	jwt, _, err := issuer.Issue(im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d", Platform: "web"})
	if err != nil {
		t.Fatal(err)
	}
	g := &memory{left: 99}
	made := 0
	call := func(sealKeys, idempotencyKey, body string) string {
		srv := mount(t, newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub, "SEAL_KEYS": sealKeys}),
			fn.CallAs(g, func(context.Context, im.Caller, ask) (map[string]int, error) {
				made++
				return map[string]int{"n": made}, nil
			}))
		resp, answer := raw(t, srv, body, "Content-Type", event.JSON, "Authorization", "Bearer "+jwt, fn.IdempotencyKey, idempotencyKey)
		return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(answer))
	}
	for i, stages := range [][]string{
		{old, old + "," + next, next + "," + old, next + "," + old, old + "," + next},
		{next + "," + old, old + "," + next, next},
	} {
		want := fmt.Sprintf(`200 {"n":%d}`, i+1)
		for _, sealKeys := range stages {
			if got := call(sealKeys, fmt.Sprint("key-", i), `{"name":"a"}`); got != want {
				t.Errorf("with %s: %s, want %s", sealKeys, got, want)
			}
		}
		for _, sealKeys := range stages {
			if got := call(sealKeys, fmt.Sprint("key-", i), `{"name":"b"}`); !strings.HasPrefix(got, "409 ") {
				t.Errorf("another call with %s: %s", sealKeys, got)
			}
		}
	}
	if made != 2 {
		t.Errorf("made %d times", made)
	}
}

func TestAFunctionIsMountedAsItIsDeclared(t *testing.T) {
	call := func(context.Context, im.Caller, ask) (ask, error) { return ask{}, nil }
	job := fn.Timed(func(context.Context) error { return nil })
	_, pub := keys(t)
	for _, tt := range []struct {
		name string
		f    fn.Func
		h    fn.Handler
		ok   bool
	}{
		{"calls behind a gate", fn.Func{Accepts: "t", Public: true}, fn.CallAs(open{}, call), true},
		{"calls behind none", fn.Func{Accepts: "t", Public: true}, fn.CallAs(nil, call), false},
		{"a job by the clock", fn.Func{Every: time.Minute}, job, true},
		{"a job that anybody outside may start", fn.Func{Every: time.Minute, Public: true}, job, false},
		{"a job that takes events", fn.Func{Every: time.Minute, Accepts: "t"}, job, false},
		{"a job that is never called", fn.Func{}, job, false},
		{"what is no job, by the clock", fn.Func{Accepts: "t", Every: time.Minute}, fails(im.Internal), false},
		{"nothing", fn.Func{Accepts: "t"}, fn.Handler{}, false},
	} {
		tt.f.Name, tt.f.New = "f", handler(tt.h)
		if _, err := fn.Mount(t.Context(), newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub}), tt.f); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
