package fn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

func handler(h fn.Handler) func(context.Context, *proc.Env) (fn.Handler, error) {
	return func(context.Context, *proc.Env) (fn.Handler, error) { return h, nil }
}

// timed serves a timed function.
func timed(t *testing.T, vars map[string]string, job func(context.Context) error) *httptest.Server {
	t.Helper()
	mux, err := fn.Mount(t.Context(), newEnv(t, vars), fn.Func{Name: "f", Every: time.Minute, New: handler(fn.Timed(job))})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func TestAnyPostTellsATimedFunctionThatItIsTime(t *testing.T) {
	done := 0
	srv := timed(t, nil, func(context.Context) error { done++; return nil })
	for i, tt := range []struct {
		name, body string
		header     []string
	}{
		{"nothing", "", nil},
		{"a ping of Knative", `{"any":"thing"}`, []string{"Content-Type", event.JSON, "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/apis/v1/namespaces/x/pingsources/y", "Ce-Type", "dev.knative.sources.ping"}},
		{"a structured event", `{"specversion":"1.0","id":"1","type":"dev.knative.sources.ping","source":"s"}`, []string{"Content-Type", event.Structured}},
		{"the connector of OpenFaaS", "", []string{"Content-Type", "text/plain", "X-Topic", "cron-function"}},
		{"what is no JSON", "}{", []string{"Content-Type", event.JSON}},
		{"more than a function reads", strings.Repeat("x", 1<<20), []string{"Content-Type", "application/x-www-form-urlencoded"}},
	} {
		if resp, body := raw(t, srv, tt.body, tt.header...); resp.StatusCode != http.StatusNoContent || body != "" || done != i+1 {
			t.Errorf("%s: %d %s, done %d times", tt.name, resp.StatusCode, body, done)
		}
	}
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || done != 6 {
		t.Errorf("GET: %d, done %d times", resp.StatusCode, done)
	}
}

// What a request is about may be something that the run under way has looked for
// already, and missed.
func TestATimedFunctionRunsOnceAtATimeAndOnceMoreForAllThatComeMeanwhile(t *testing.T) {
	entered, goOn := make(chan struct{}, 9), make(chan struct{})
	srv := timed(t, nil, func(context.Context) error { entered <- struct{}{}; <-goOn; return nil })
	var arrived atomic.Int32
	function := srv.Config.Handler
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		function.ServeHTTP(w, r)
	})
	const meanwhile = 8
	statuses := make(chan int, 1+meanwhile)
	ask := func() {
		resp, _ := raw(t, srv, "")
		statuses <- resp.StatusCode
	}
	answered := func() {
		t.Helper()
		if got := <-statuses; got != http.StatusNoContent {
			t.Errorf("status %d", got)
		}
	}
	go ask()
	<-entered
	for range meanwhile {
		go ask()
	}
	imtest.Until(t, "all come while it runs", func() bool { return arrived.Load() == 1+meanwhile })
	for range meanwhile - 1 { // all but the one that runs for them
		answered()
	}
	if len(entered) != 0 {
		t.Error("it runs twice at once")
	}
	goOn <- struct{}{}
	answered()
	<-entered
	goOn <- struct{}{}
	answered()
	if len(entered) != 0 {
		t.Error("it runs more than once for those that came meanwhile")
	}
	close(goOn)
	ask()
	answered()
	if len(entered) != 1 {
		t.Error("it does not run again")
	}
}

func TestATimedFunctionOutlivesItsCaller(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	srv := timed(t, nil, func(ctx context.Context) error {
		close(entered)
		select { // that the caller is gone is seen soon, if at all
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
		ended <- ctx.Err()
		return nil
	})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-entered; leave() }()
	if resp, err := srv.Client().Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("answered %s", resp.Status)
	}
	if err := <-ended; err != nil {
		t.Errorf("it was cut off: %v", err)
	}
}

func TestStatusOfATimedFunction(t *testing.T) {
	for _, tt := range []struct {
		name string
		job  func(context.Context) error
		want int
	}{
		{"done", func(context.Context) error { return nil }, 204},
		{"a dependency is down", func(context.Context) error { return im.Errorf(im.Unavailable, "down") }, 503},
		{"a fault of ours", func(context.Context) error { return errors.New("password is swordfish") }, 503},
		{"too much", func(context.Context) error { return im.Errorf(im.Overloaded, "busy") }, 429},
		{"what can never succeed", func(context.Context) error { return im.Errorf(im.Invalid, "bad") }, 422},
		{"a panic", func(context.Context) error { panic("at the disco") }, 503},
		{"its deadline passed", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := timed(t, map[string]string{"FUNCTION_TIMEOUT": "50ms"}, tt.job)
			for range 2 { // it can be called again
				resp, body := raw(t, srv, "")
				if resp.StatusCode != tt.want || strings.Contains(body, "swordfish") {
					t.Errorf("status %d %s, want %d", resp.StatusCode, body, tt.want)
				}
			}
		})
	}
}
