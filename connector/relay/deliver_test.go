package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
)

func TestEventsAreDeliveredInOrderAndInBatches(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3)
	for k := range 10 {
		s.publish(fmt.Sprint("k", k), 0, 100)
	}
	r, stop := s.relay("CONNECTOR_BATCH_EVENTS", "50")
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 1000 })
	s.fn.inOrder(t)
	if n := s.fn.asked(); n > 40 {
		t.Errorf("it took %d requests", n)
	}
	s.fn.mu.Lock()
	for _, ids := range s.fn.requests {
		if len(ids) > 50 {
			t.Errorf("a request has %d events", len(ids))
		}
	}
	s.fn.mu.Unlock()
	imtest.Until(t, "what is done is committed", func() bool { return s.committed() == 1000 })
	imtest.Until(t, "the lag is 0", func() bool { return testutil.CollectAndCount(r.metrics.lag) == 3 })
	for p := range 3 {
		if lag := testutil.ToFloat64(r.metrics.lag.WithLabelValues(s.fn.name, s.topic, fmt.Sprint(p))); lag != 0 {
			t.Errorf("partition %d is %v behind", p, lag)
		}
	}
	if n := testutil.ToFloat64(r.metrics.delivered.WithLabelValues(s.fn.name)); n != 1000 {
		t.Errorf("the metrics have %v delivered", n)
	}
	if err := r.ready(); err != nil {
		t.Error(err)
	}
	stop()
	if n := testutil.CollectAndCount(r.metrics.lag); n != 0 {
		t.Errorf("the lag of %d partitions is told after the end", n)
	}
	if r.ready() == nil {
		t.Error("one that has stopped says it is ready")
	}
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	var events []event.Event
	for n := range 20 {
		e := s.event("k", n)
		e.Data = []byte(`"` + strings.Repeat("x", 1000) + `"`)
		if n == 10 {
			e.Data = []byte(`"` + strings.Repeat("x", 10_000) + `"`)
		}
		s.ring.Sign(&e)
		events = append(events, e)
	}
	s.publishAll(events...)
	s.relay("CONNECTOR_BATCH_BYTES", "5000")
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 20 })
	for _, ids := range s.fn.requests {
		if large := slices.Contains(ids, "k/10"); large && len(ids) > 1 || len(ids) > 4 {
			t.Errorf("a request has %v", ids)
		}
	}
}

func TestAnOutageLosesNothingAndKillsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		handle func([]event.Event) error
		front  func(http.ResponseWriter, *http.Request) bool
	}{
		{"a dependency is down", func([]event.Event) error { return im.Errorf(im.Unavailable, "down") }, nil},
		{"the function breaks", func([]event.Event) error { panic("broken") }, nil},
		{"the function is not there yet", nil, status(404)},
		{"the proxy before it finds no instance", nil, status(502)},
		{"the connection breaks off", nil, func(w http.ResponseWriter, _ *http.Request) bool {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				c.Close()
			}
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 2)
			var asked atomic.Int32
			s.fn.behave(tt.handle, func(w http.ResponseWriter, r *http.Request) bool {
				asked.Add(1)
				return tt.front != nil && tt.front(w, r)
			})
			s.publish("a", 0, 50)
			s.publish("b", 0, 50)
			r, _ := s.relay()
			imtest.Until(t, "it is tried again", func() bool { return asked.Load() > 4 })
			if s.committed() != 0 {
				t.Error("what is not done has been committed")
			}
			s.fn.behave(nil, nil)
			imtest.Until(t, "all are done", func() bool { return s.fn.count() == 100 })
			s.fn.inOrder(t)
			if n := len(s.letters()); n > 0 {
				t.Errorf("there are %d dead letters", n)
			}
			if testutil.ToFloat64(r.metrics.retried.WithLabelValues(s.fn.name)) == 0 {
				t.Error("the metrics have nothing tried again")
			}
		})
	}
}

// What stands between the connector and a function, or instead of it, can say
// what it likes: the events wait until the function is there.
func TestP1OnlyAFunctionDecidesOnAnEvent(t *testing.T) {
	t.Parallel()
	answers := []struct {
		status      int
		media, body string
	}{
		{200, "text/html", `<html>Welcome to our network</html>`},
		{200, "", ``},
		{200, "text/plain", `ok`},
		{200, "application/json", `{"status":"ok"}`},
		{200, "application/json", `{"results":null}`},
		{200, "application/json", `{"results":[]}{}`},
		{200, "application/json", `{"results":[{"id":"of another","status":200}]}`},
		{200, "application/json", `{"results":[{"id":"k/0"}]}`},
		{200, "application/json", `{"results":[{"id":"k/0","status":422}]}`},
		{200, "application/json", `{"results":[{"id":"k/0","status":302}]}`},
		{201, "", ``},
		{202, "", ``},
		{202, "application/json", `{}`},
		{206, "application/json", `{}`},
		{302, "text/html", `<html>sign in</html>`},
		{400, "text/html", `<html>`},
		{401, "", ``},
		{403, "text/html", `<html>the firewall does not like it</html>`},
		{404, "text/plain", `404 page not found`},
		{404, "application/problem+json", `{"kind":"not-found","title":"Not found","detail":"there is nothing at /","status":404}`},
		{405, "application/problem+json", `{"kind":"invalid","title":"Invalid request","detail":"a function is called by POST","status":405}`},
		{410, "", ``},
		{413, "text/html", `<html>too large</html>`},
		{415, "text/html", `<html>`},
		{422, "application/json", `{"detail":"unprocessable"}`},
		{422, "application/problem+json", `{"type":"about:blank","title":"Unprocessable","status":422}`},
		{429, "text/plain", `rate limited`},
		{451, "", ``},
		{500, "text/html", `<html>`},
		{503, "text/html", `<html>`},
	}
	for _, size := range []int{1, 5} {
		t.Run(fmt.Sprint("in requests of ", size), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1)
			var asked atomic.Int32
			s.fn.behave(nil, func(w http.ResponseWriter, _ *http.Request) bool {
				n := int(asked.Add(1)) - 1
				if n >= len(answers) {
					return false
				}
				a := answers[n]
				if a.media != "" {
					w.Header().Set("Content-Type", a.media)
				}
				w.WriteHeader(a.status)
				io.WriteString(w, a.body)
				return true
			})
			env := imtest.Env(t, s.vars())
			r, err := open(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorker(&function{Relay: r, name: s.fn.name, url: r.urls.Of(s.fn.name)}, nil)
			jobs := make([]*job, size)
			for n := range jobs {
				jobs[n] = &job{ev: s.event("k", n)}
			}
			for _, a := range answers {
				if out := w.post(t.Context(), jobs); len(out.left) != size || len(out.dead) > 0 {
					t.Errorf("%d %s %s: %d come again, %d are dead letters", a.status, a.media, a.body, len(out.left), len(out.dead))
				}
			}
			foreign, err := fn.OpenForeignAnswers(env)
			if err != nil {
				t.Fatal(err)
			}
			const ofOurs = 2 // say that the address is wrong
			if got := testutil.ToFloat64(foreign.Of(s.fn.name)); got != float64(len(answers)-ofOurs) {
				t.Errorf("%v foreign answers are counted", got)
			}
			if out := w.post(t.Context(), jobs); len(out.left) > 0 || len(out.dead) > 0 || s.fn.count() != size {
				t.Errorf("the function itself: %+v", out)
			}
			if n := testutil.ToFloat64(w.metrics.delivered.WithLabelValues(s.fn.name)); n != float64(size) {
				t.Errorf("%v are counted as delivered", n)
			}
		})
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

func TestAFunctionThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ln.Close()
	s.publish("k", 0, 30)
	r, _ := s.relay("FUNCTION_URL", "http://"+at+"/{function}")
	imtest.Until(t, "it is tried again", func() bool { return testutil.ToFloat64(r.metrics.retried.WithLabelValues(s.fn.name)) > 0 })
	if ln, err = net.Listen("tcp", at); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s.fn.srv.Config.Handler}
	go srv.Serve(ln)
	defer srv.Close()
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 30 })
	s.fn.inOrder(t)
}

func TestOnlyWhatFailedOfABatchComesAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	var mu sync.Mutex
	left := map[string]int{"k/3": 2, "k/4": 1, "k/9": 3} // how often each fails
	s.fn.behave(func(events []event.Event) error {
		mu.Lock()
		defer mu.Unlock()
		each := make(fn.Each, len(events))
		for i := range events {
			if left[events[i].ID] > 0 {
				left[events[i].ID]--
				each[i] = im.Errorf(im.Unavailable, "not yet")
			}
		}
		return each.Or()
	}, nil)
	s.publish("k", 0, 10)
	s.relay()
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 10 })
	if ids, total := s.fn.ids(); total != 10 {
		t.Errorf("%d were done for %v", total, ids)
	}
	want := [][]string{nil, {"k/3", "k/4", "k/9"}, {"k/3", "k/9"}, {"k/9"}}
	for i, ids := range s.fn.requests {
		if i > 0 && (i >= len(want) || !slices.Equal(ids, want[i])) {
			t.Errorf("request %d has %v", i, ids)
		}
	}
	if n := len(s.letters()); n > 0 {
		t.Errorf("there are %d dead letters", n)
	}
}

func TestPoisonIsTakenOutOfItsBatch(t *testing.T) {
	t.Parallel()
	poison := []string{"k/7", "k/8", "k/50"}
	isPoison := func(e event.Event) bool { return slices.Contains(poison, e.ID) }
	for _, tt := range []struct {
		name   string
		handle func([]event.Event) error
		front  func(http.ResponseWriter, *http.Request) bool
		status string
		reason string
	}{
		{"the function names it", func(events []event.Event) error {
			each := make(fn.Each, len(events))
			for i, e := range events {
				if isPoison(e) {
					each[i] = im.Errorf(im.Invalid, "it stinks")
				}
			}
			return each.Or()
		}, nil, "422", "invalid: it stinks"},
		{"the function refuses the batch", func(events []event.Event) error {
			if slices.ContainsFunc(events, isPoison) {
				return im.Errorf(im.Invalid, "something stinks")
			}
			return nil
		}, nil, "422", "invalid: something stinks"},
		{"the request is refused before it is read", nil, refuse(422, poison), "422", "invalid: Invalid it is"},
		{"for what it is written in", nil, refuse(415, poison), "415", "invalid: Invalid it is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1)
			s.fn.behave(tt.handle, tt.front)
			s.publish("k", 0, 100)
			r, _ := s.relay()
			imtest.Until(t, "all others are done", func() bool { return s.fn.count() == 97 })
			imtest.Until(t, "all are committed", func() bool { return s.committed() == 100 })
			s.fn.inOrder(t)
			var dead []string
			for _, l := range s.letters() {
				ev, err := l.Event()
				if err != nil {
					t.Fatal(err)
				}
				dead = append(dead, ev.ID)
				if ev.Type != accepted || ev.Subject != "k" || string(l.Key) != "k" || s.ring.Verify(&ev) != nil {
					t.Errorf("the letter is not as the record was: %+v", ev)
				}
				for name, want := range map[string]string{
					deadReason: tt.reason, deadStatus: tt.status, deadFunction: s.fn.name, deadTopic: s.topic, deadPartition: "0",
					deadOffset: strings.TrimPrefix(ev.ID, "k/"),
				} {
					if got := l.Header(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				var at im.Time
				if err := at.UnmarshalText([]byte(l.Header(deadTime))); err != nil || im.Now()-at > 60e6 {
					t.Errorf("it died at %q, %v", l.Header(deadTime), err)
				}
				if l.Header(deadAttempts) == "0" || l.Header(deadAttempts) == "" {
					t.Errorf("it was tried %q times", l.Header(deadAttempts))
				}
			}
			if !slices.Equal(dead, poison) {
				t.Errorf("dead are %v", dead)
			}
			if n := testutil.ToFloat64(r.metrics.dead.WithLabelValues(s.fn.name)); n != 3 {
				t.Errorf("the metrics have %v dead", n)
			}
		})
	}
}

// refuse answers requests in which one of ids is named with a problem of this
// status.
func refuse(code int, ids []string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		for _, id := range ids {
			if r.Header.Get("Ce-Id") == id || strings.Contains(string(body), `"`+id+`"`) {
				fn.WriteProblem(w, code, im.Errorf(im.Invalid, "Invalid it is"))
				return true
			}
		}
		return false
	}
}

func TestABatchThatIsTooLargeIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.fn.behave(nil, func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 2000 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	})
	s.publish("k", 0, 100)
	s.relay()
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 100 })
	s.fn.inOrder(t)
	if n := len(s.letters()); n > 0 {
		t.Errorf("there are %d dead letters", n)
	}
}

func TestABatchThatTakesTooLongIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.fn.behave(func(events []event.Event) error {
		time.Sleep(time.Duration(len(events)) * 10 * time.Millisecond)
		return nil
	}, nil)
	s.publish("k", 0, 100)
	s.relay("CONNECTOR_TIMEOUT", "200ms")
	imtest.Until(t, "all are done", func() bool { return s.committed() == 100 })
}

func TestWhatIsNoEventGoesToTheDeadLettersAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.publish("k", 0, 2)
	s.write(s.topic,
		kafka.Record{Key: []byte("x"), Value: []byte("hello"), Headers: []kafka.Header{{Key: "h", Value: []byte{0xff}}}},
		kafka.Record{})
	s.publish("k", 2, 4)
	s.relay()
	imtest.Until(t, "the events are done", func() bool { return s.fn.count() == 4 && s.committed() == 6 })
	letters := s.letters()
	if len(letters) != 2 {
		t.Fatalf("there are %d dead letters", len(letters))
	}
	l := letters[0]
	if string(l.Key) != "x" || string(l.Value) != "hello" || l.Header("h") != "\xff" || l.Header(deadOffset) != "2" ||
		!strings.Contains(l.Header(deadReason), "not a CloudEvent") || l.Header(deadStatus) != "" {
		t.Errorf("got %+v", l)
	}
	if s.fn.asked() == 0 || len(letters[1].Key) > 0 {
		t.Errorf("got %+v", letters[1])
	}
}

func TestABudgetEndsInTheDeadLetters(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.fn.behave(func(events []event.Event) error {
		each := make(fn.Each, len(events))
		for i, e := range events {
			if e.ID == "k/1" {
				each[i] = im.Errorf(im.Unavailable, "it never works")
			}
		}
		return each.Or()
	}, nil)
	s.publish("k", 0, 3)
	start := time.Now()
	s.relay("CONNECTOR_RETRY_FOR", "500ms")
	imtest.Until(t, "it is given up", func() bool { return s.committed() == 3 })
	letters := s.letters()
	if len(letters) != 1 || !strings.Contains(letters[0].Header(deadReason), "given up after 500ms") || letters[0].Header("ce_id") != "k/1" {
		t.Errorf("got %v", letters)
	}
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("it was given up after %s", took)
	}
}

func TestAFunctionSaysWhenToComeAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	var mu sync.Mutex
	var at []time.Time
	s.fn.behave(func(events []event.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if at = append(at, time.Now()); len(at) == 1 {
			return &im.Error{Kind: im.Overloaded, Msg: "later", RetryAfter: 2 * time.Second}
		}
		return nil
	}, nil)
	s.publish("k", 0, 1)
	s.relay()
	imtest.Until(t, "it is done", func() bool { return s.fn.count() == 1 })
	if d := at[1].Sub(at[0]); d < 1900*time.Millisecond {
		t.Errorf("it came again after %s", d)
	}
}

func TestAPartitionWaitsUntilItsDeadLetterIsWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.configure(s.dead, "max.message.bytes", "100") // no dead letter is as small
	s.fn.behave(func(events []event.Event) error {
		each := make(fn.Each, len(events))
		for i, e := range events {
			if e.ID == "k/0" {
				each[i] = im.Errorf(im.Invalid, "no")
			}
		}
		return each.Or()
	}, nil)
	s.publish("k", 0, 1)
	s.relay()
	imtest.Until(t, "the function is asked", func() bool { return s.fn.asked() > 0 })
	s.publish("k", 1, 2)
	time.Sleep(time.Second)
	if s.committed() != 0 || s.fn.count() > 0 {
		t.Error("the partition has not waited")
	}
	s.configure(s.dead, "max.message.bytes", "100000")
	imtest.Until(t, "the partition goes on", func() bool { return s.fn.count() == 1 && s.committed() == 2 })
	if n := len(s.letters()); n != 1 {
		t.Errorf("there are %d dead letters", n)
	}
}

func TestBackPressurePausesAPartition(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	open := make(chan struct{})
	s.fn.behave(func([]event.Event) error { <-open; return nil }, nil)
	for k := range 20 {
		s.publish(fmt.Sprint("k", k), 0, 500)
	}
	s.relay()
	imtest.Until(t, "both partitions are under way", func() bool { return s.fn.asked() == 2 })
	time.Sleep(500 * time.Millisecond)
	s.fn.mu.Lock()
	events, top := 0, s.fn.top
	for _, ids := range s.fn.requests {
		events += len(ids)
	}
	s.fn.mu.Unlock()
	if events > 1000 || top != 2 {
		t.Errorf("%d events are under way in %d requests at a time: want one request of at most 500 for each partition", events, top)
	}
	if s.committed() != 0 {
		t.Error("what is not done has been committed")
	}
	close(open)
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == 10_000 })
	s.fn.inOrder(t)
	if s.fn.top > 2 {
		t.Errorf("%d requests were under way at a time", s.fn.top)
	}
}

func TestOneThatStopsFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	entered, open := make(chan struct{}, 1), make(chan struct{})
	s.fn.behave(func([]event.Event) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-open
		return nil
	}, nil)
	s.publish("k", 0, 5)
	_, stop := s.relay()
	<-entered
	time.AfterFunc(500*time.Millisecond, func() { close(open) })
	stop()
	if n := s.committed(); n != 5 {
		t.Errorf("%d are committed", n)
	}
	s.publish("k", 5, 8)
	s.relay()
	imtest.Until(t, "the rest is done", func() bool { return s.fn.count() == 8 })
	if _, total := s.fn.ids(); total != 8 {
		t.Errorf("%d were done: some twice", total)
	}
}

func TestOneThatStopsLeavesWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	entered, open := make(chan struct{}, 10), make(chan struct{})
	s.fn.behave(func([]event.Event) error { entered <- struct{}{}; <-open; return nil }, nil)
	s.publish("k", 0, 5)
	_, stop := s.relay()
	<-entered
	start := time.Now()
	stop()
	if took := time.Since(start); took > drain+time.Minute || took < drain {
		t.Errorf("it took %s to stop", took)
	}
	if n := s.committed(); n != 0 {
		t.Errorf("%d are committed", n)
	}
	close(open)
	s.relay()
	imtest.Until(t, "it is done by the next", func() bool { return s.committed() == 5 })
}

func TestConnectorsShareTheWorkAndLoseNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, 4)
	const keys = 16
	stopWriting := make(chan struct{})
	var writers sync.WaitGroup
	var sent [keys]int
	for k := range keys {
		writers.Go(func() {
			for {
				select {
				case <-stopWriting:
					return
				case <-time.After(3 * time.Millisecond):
				}
				s.publish(fmt.Sprint("k", k), sent[k], sent[k]+1)
				sent[k]++
			}
		})
	}
	more := func() {
		t.Helper()
		n := s.fn.count()
		imtest.Until(t, "it goes on", func() bool { return s.fn.count() > n+300 })
	}
	_, stopFirst := s.relay()
	more()
	second, _ := s.relay()
	imtest.Until(t, "the second gets partitions", func() bool {
		return testutil.ToFloat64(second.metrics.delivered.WithLabelValues(s.fn.name)) > 50
	})
	stopFirst()
	more()
	close(stopWriting)
	writers.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	imtest.Until(t, "all are done", func() bool { return s.fn.count() == total })
	s.fn.inOrder(t)
	imtest.Until(t, "all are committed", func() bool { return s.committed() == int64(total) })
	if n := len(s.letters()); n > 0 {
		t.Errorf("there are %d dead letters", n)
	}
}

func TestABrokerThatIsKilledCostsTimeOnly(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	s := siteOn(t, 2, broker.URL)
	s.relay()
	var acked []string
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p, err := kafka.Open(t.Context(), s.env)
		if err != nil {
			t.Error(err)
			return
		}
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			e := s.event(fmt.Sprint("k", n%5), n)
			if err := p.Publish(ctx, s.topic, []event.Event{e}); err == nil {
				acked = append(acked, e.ID)
			} else if !errors.Is(err, im.Unavailable) {
				t.Error(err)
			}
			cancel()
		}
	}()
	for range 2 {
		n := s.fn.count()
		imtest.Until(t, "it goes on", func() bool { return s.fn.count() > n+200 })
		broker.Kill()
		broker.Restart()
	}
	n := s.fn.count()
	imtest.Until(t, "it goes on after the last restart", func() bool { return s.fn.count() > n+100 })
	close(stop)
	<-ended
	imtest.Until(t, "all that was accepted is done", func() bool {
		ids, _ := s.fn.ids()
		done := make(map[string]bool)
		for _, id := range ids {
			done[id] = true
		}
		return !slices.ContainsFunc(acked, func(id string) bool { return !done[id] })
	})
	s.fn.inOrder(t)
	if n := len(s.letters()); n > 0 {
		t.Errorf("there are %d dead letters", n)
	}
}

func TestSettingsOfRoutes(t *testing.T) {
	for _, tt := range []struct{ name, routes, url, want string }{
		{"no function", "a", "", "CONNECTOR_ROUTES"},
		{"no topic", ">f", "", "CONNECTOR_ROUTES"},
		{"a function that would be another URL", "a>f/../g", "", "CONNECTOR_ROUTES"},
		{"twice the same", "a>f,a>f", "", "CONNECTOR_ROUTES"},
		{"nothing but commas", ",", "", "CONNECTOR_ROUTES"},
		{"a URL without a host", "a>f", "{function}", "FUNCTION_URL"},
		{"one URL for all functions", "a>f", "http://functions/", "FUNCTION_URL"},
		{"a URL of another kind", "a>f", "ftp://{function}/", "FUNCTION_URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vars := map[string]string{"KAFKA_BROKERS": "localhost:1", "CONNECTOR_ROUTES": tt.routes}
			if tt.url != "" {
				vars["FUNCTION_URL"] = tt.url
			}
			if err := Run(t.Context(), imtest.Env(t, vars)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	routes, err := parseRoutes([]string{"a>f", "a > g", "b>f"})
	if want := "[{f [a b]} {g [a]}]"; fmt.Sprint(routes) != want || err != nil {
		t.Errorf("got %v, %v; want %s", routes, err, want)
	}
}
