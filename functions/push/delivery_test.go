package push

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	cleo = "cccccccccccccccc"
	dave = "dddddddddddddddd"
)

var down = &im.Error{Kind: im.Unavailable, Msg: "it is down", Err: errors.New("dial tcp: refused")}

// world is who is connected where, and the gateways themselves.
type world struct {
	t     testing.TB
	ring  *event.Keyring
	conns map[string][]im.Conn             // by user
	urls  map[string]string                // by gateway
	fails map[string]int                   // how many more requests a gateway does not answer
	says  map[string]func(event.Event) int // the status of each event, by gateway

	lookupErr, urlsErr error
	lookups, asked     int

	mu       sync.Mutex
	requests []string                 // "<url> <events>"
	pushed   map[string][]event.Event // by url
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ring, err := event.ParseKeyring("k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ring: ring, urls: map[string]string{}, conns: map[string][]im.Conn{}, fails: map[string]int{}, says: map[string]func(event.Event) int{}, pushed: map[string][]event.Event{}}
	for _, gw := range []string{"one", "two"} {
		w.urls[gw] = "http://" + gw
	}
	w.connect(ann, "phone", "one")
	w.connect(ann, "web", "two")
	w.connect(bob, "phone", "two")
	w.connect(cleo, "phone", "one")
	w.connect(cleo, "web", "one")
	return w // dave is not connected
}

func (w *world) connect(user, device, gateway string) {
	w.conns[user] = append(w.conns[user], im.Conn{User: user, Device: device, Gateway: gateway})
}

func (w *world) Lookup(_ context.Context, users []string) (map[string][]im.Conn, error) {
	w.lookups++
	out := map[string][]im.Conn{}
	for _, u := range users {
		if c, ok := w.conns[u]; ok {
			out[u] = c
		}
	}
	return out, w.lookupErr
}

func (w *world) URLs(_ context.Context, ids []string) (map[string]string, error) {
	w.asked++
	out := maps.Clone(w.urls)
	maps.DeleteFunc(out, func(id, _ string) bool { return !slices.Contains(ids, id) })
	return out, w.urlsErr
}

func (w *world) post(_ context.Context, url string, events []event.Event) ([]fn.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gateway := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/push")
	w.requests = append(w.requests, fmt.Sprint(gateway, " ", len(events)))
	if w.fails[gateway] > 0 {
		w.fails[gateway]--
		return nil, down
	}
	out := make([]fn.Result, len(events))
	ids := map[string]bool{}
	for i, e := range events {
		if ids[e.ID] {
			w.t.Errorf("two events of a request have the id %s", e.ID)
		}
		ids[e.ID] = true
		if err := w.ring.Verify(&e); err != nil || e.Type != event.Push {
			w.t.Errorf("%+v: %v", e, err)
		}
		out[i].Status = http.StatusNoContent
		if says := w.says[gateway]; says != nil {
			out[i].Status = says(e)
		}
		if out[i].Status < 300 {
			w.pushed[gateway] = append(w.pushed[gateway], e)
		}
	}
	return out, nil
}

func (w *world) delivery() *delivery {
	return &delivery{
		conns: w, gateways: w, post: w.post, seal: w.ring,
		log: slog.New(slog.DiscardHandler), pushed: newPushed(), circuit: newCircuit(),
	}
}

// at returns what a gateway was given to write, as "<text> user:seq …".
func (w *world) at(gateway string) []string {
	w.t.Helper()
	var out []string
	for _, e := range w.pushed[gateway] {
		var p event.Pushed
		if err := json.Unmarshal(e.Data, &p); err != nil {
			w.t.Fatalf("%s: %v", e.Data, err)
		}
		var s string
		if p.Message != nil {
			var m im.Message
			if err := json.Unmarshal(p.Message, &m); err != nil {
				w.t.Fatal(err)
			}
			s = m.Text
		} else {
			s = string(p.Frame)
			if p.Except != "" {
				s += " except " + p.Except
			}
		}
		for _, r := range p.To {
			s += fmt.Sprintf(" %s:%d", r.User[:1], r.Seq)
		}
		out = append(out, s)
	}
	return out
}

// appendedEvent is of a message with this text in the inboxes of users, at the seqs
// 1, 2, 3 …
func appendedEvent(t testing.TB, id, text string, users ...string) event.Event {
	t.Helper()
	message, err := json.Marshal(im.Message{ID: id, Conversation: "g:" + ann, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	a := event.Appended{Message: message}
	for i, u := range users {
		a.Entries = append(a.Entries, event.Recipient{User: u, Seq: int64(i + 1)})
	}
	e, err := event.New(event.InboxAppended, "test", "g:"+ann, a)
	if err != nil {
		t.Fatal(err)
	}
	e.ID, e.TraceParent = id, "trace of "+id
	return e
}

func dropped(d *delivery, outcome string) float64 {
	return testutil.ToFloat64(d.pushed.WithLabelValues(outcome))
}

func TestMessagesGoToTheGatewaysConcernedInOneRequestEachAndInOrder(t *testing.T) {
	w := newWorld(t)
	d := w.delivery()
	err := fanout(d)(t.Context(), []event.Event{
		appendedEvent(t, "1", "first", ann, bob),
		appendedEvent(t, "2", "second", cleo, dave),
		appendedEvent(t, "3", "third", dave),
		appendedEvent(t, "4", "fourth", bob, ann, cleo),
	})
	if err != nil {
		t.Fatal(err)
	}
	for gateway, want := range map[string][]string{
		"one": {"first a:1", "second c:1", "fourth a:2 c:3"},
		"two": {"first a:1 b:2", "fourth b:1 a:2"},
	} {
		if got := w.at(gateway); !slices.Equal(got, want) {
			t.Errorf("%s got %q, want %q", gateway, got, want)
		}
	}
	slices.Sort(w.requests)
	if !slices.Equal(w.requests, []string{"one 3", "two 2"}) || w.lookups != 1 || w.asked != 1 {
		t.Errorf("requests %q, %d look-ups, %d questions where gateways are", w.requests, w.lookups, w.asked)
	}
	if n := dropped(d, done); n != 5 {
		t.Errorf("%v are counted as done", n)
	}
	e := w.pushed["one"][0]
	if e.ID != "1@one" || e.TraceParent != "trace of 1" || e.Subject != "g:"+ann || e.PartitionKey != "g:"+ann {
		t.Errorf("event %+v", e)
	}
}

func TestAMessageIsPassedOnByteForByte(t *testing.T) {
	w := newWorld(t)
	const message = `{ "id":"m",  "text":"<\u00e9> & \ud83d\ude00", "future":[1.50] }`
	e := event.Event{ID: "m", Type: event.InboxAppended, Source: "test",
		Data: []byte(`{"message":` + message + `,"entries":[{"user":"` + ann + `","seq":9007199254740993},{"user":"` + cleo + `","seq":2}]}`)}
	if err := fanout(w.delivery())(t.Context(), []event.Event{e}); err != nil {
		t.Fatal(err)
	}
	got := w.pushed["one"][0].Data
	if !strings.Contains(string(got), message) {
		t.Errorf("pushed %s", got)
	}
	var p, want event.Pushed
	if err := json.Unmarshal(got, &p); err != nil {
		t.Fatal(err)
	}
	want.Message = []byte(message)
	want.To = []event.Recipient{{User: ann, Seq: 9007199254740993}, {User: cleo, Seq: 2}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("pushed %+v, want %+v", p, want)
	}
}

func TestEventsThatMakeNoSenseFailAlone(t *testing.T) {
	w := newWorld(t)
	raw := func(data string) event.Event {
		return event.Event{ID: "x", Type: event.InboxAppended, Data: []byte(data)}
	}
	err := fanout(w.delivery())(t.Context(), []event.Event{
		raw(`{`), raw(``), raw(`{"entries":[]}`), raw(`{"message":{},"entries":[{"user":"\",\"x","seq":1}]}`),
		appendedEvent(t, "1", "good", bob),
	})
	var each fn.Each
	if !errors.As(err, &each) || len(each) != 5 {
		t.Fatalf("error = %v", err)
	}
	for i, e := range each {
		if (i < 4) != errors.Is(e, im.Invalid) || i == 4 && e != nil {
			t.Errorf("event %d: %v", i, e)
		}
	}
	if got := w.at("two"); !slices.Equal(got, []string{"good b:1"}) {
		t.Errorf("pushed %q", got)
	}
}

func TestAPushThatFailsIsDroppedAndNoFailureOfTheEvent(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fail     func(*world)
		requests []string // to gateway one
		there    []string // at gateway one
		outcome  string
		dropped  float64
	}{
		{"presence is not known", func(w *world) { w.lookupErr = down }, nil, nil, noPresence, 3},
		{"the registry is not known", func(w *world) { w.urlsErr = down }, nil, nil, noRegistry, 3},
		{"the gateway is gone", func(w *world) { delete(w.urls, "one") }, nil, nil, gone, 3},
		{"the gateway does not answer once", func(w *world) { w.fails["one"] = 1 },
			[]string{"one 3", "one 3"}, []string{"1 a:1", "2 a:1", "3 a:1"}, unanswered, 0},
		{"the gateway does not answer", func(w *world) { w.fails["one"] = 9 }, []string{"one 3", "one 3"}, nil, unanswered, 3},
		{"the gateway has no room for one of them at first", func(w *world) {
			n := 0
			w.says["one"] = func(e event.Event) int {
				if n++; e.ID == "2@one" && n < 4 {
					return 429
				}
				return 204
			}
		}, []string{"one 3", "one 1"}, []string{"1 a:1", "3 a:1", "2 a:1"}, unanswered, 0},
		{"the gateway will not have one of them", func(w *world) {
			w.says["one"] = func(e event.Event) int {
				if e.ID == "2@one" {
					return 422
				}
				return 204
			}
		}, []string{"one 3"}, []string{"1 a:1", "3 a:1"}, refused, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.conns[ann] = w.conns[ann][:1] // at gateway one
			tt.fail(w)
			d := w.delivery()
			err := fanout(d)(t.Context(), []event.Event{
				appendedEvent(t, "1", "1", ann), appendedEvent(t, "2", "2", ann), appendedEvent(t, "3", "3", ann),
			})
			if err != nil {
				t.Errorf("error = %v", err)
			}
			if !slices.Equal(w.requests, tt.requests) || !slices.Equal(w.at("one"), tt.there) {
				t.Errorf("requests %q, there %q", w.requests, w.at("one"))
			}
			if n := dropped(d, tt.outcome); n != tt.dropped {
				t.Errorf("%v dropped: %s", n, tt.outcome)
			}
		})
	}
}

func TestP7AGatewayThatDoesNotAnswerIsLeftAloneAndHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	d := w.delivery()
	now := time.Now()
	d.circuit.Now = func() time.Time { return now }
	push := func(text string) {
		t.Helper()
		w.requests = nil
		if err := fanout(d)(t.Context(), []event.Event{appendedEvent(t, text, text, bob, cleo)}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(w.requests)
	}
	w.fails["one"] = 4
	for i, step := range []struct {
		passes time.Duration
		want   []string
	}{
		{0, []string{"one 1", "one 1", "two 1"}}, // given up after two
		{holdOff - 1, []string{"two 1"}},
		{1, []string{"one 1", "one 1", "two 1"}}, // again: twice as long now
		{2*holdOff - 1, []string{"two 1"}},
		{1, []string{"one 1", "two 1"}}, // it answers
		{0, []string{"one 1", "two 1"}},
	} {
		now = now.Add(step.passes)
		push(fmt.Sprint(i))
		if !slices.Equal(w.requests, step.want) {
			t.Errorf("step %d: requests %q, want %q", i, w.requests, step.want)
		}
	}
	if got, want := fmt.Sprint(w.at("two")), "[0 b:1 1 b:1 2 b:1 3 b:1 4 b:1 5 b:1]"; got != want {
		t.Errorf("the other got %s, want %s", got, want)
	}
	if n := dropped(d, circuitOpen); n != 2 {
		t.Errorf("%v dropped", n)
	}
	for range 100 {
		d.circuit.Fail("one")
	}
	now = now.Add(maxHoldOff)
	if d.circuit.Wait("one") > 0 {
		t.Error("it is left alone for longer than is allowed")
	}
}

func TestP7RequestsToAGatewayAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events int
		text   int
		want   []string
	}{
		{"as many as go into one", maxEvents, 1, []string{"two 500"}},
		{"one more", maxEvents + 1, 1, []string{"two 500", "two 1"}},
		{"large ones", 100, im.MaxText, []string{"two 61", "two 39"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var events []event.Event
			var want []string
			for i := range tt.events {
				text := fmt.Sprintf("%0*d", tt.text, i)
				events = append(events, appendedEvent(t, fmt.Sprint(i), text, bob))
				want = append(want, text+" b:1")
			}
			if err := fanout(w.delivery())(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(w.requests, tt.want) {
				t.Errorf("requests %q, want %q", w.requests, tt.want)
			}
			if !slices.Equal(w.at("two"), want) {
				t.Error("they are not in order")
			}
			size := 0
			for _, e := range w.pushed["two"][:min(61, tt.events)] {
				size += len(e.AppendJSON(nil)) + 1
			}
			if size > maxBytes {
				t.Errorf("a request has %d bytes", size)
			}
		})
	}
	if n := chunk([]event.Event{{Data: make([]byte, 2*maxBytes)}, {}}); n != 1 {
		t.Errorf("one that is larger than a request may be goes with %d", n)
	}
}

func TestNothingIsDoneWhereNobodyIsConnected(t *testing.T) {
	w := newWorld(t)
	if err := fanout(w.delivery())(t.Context(), []event.Event{appendedEvent(t, "1", "hello", dave)}); err != nil {
		t.Fatal(err)
	}
	if w.asked != 0 || len(w.requests) != 0 {
		t.Errorf("asked %d times where gateways are, requests %q", w.asked, w.requests)
	}
}

func BenchmarkFanoutToAGroupOf1000(b *testing.B) {
	w := newWorld(b)
	users := make([]string, 1000)
	for i := range users {
		users[i] = im.NewID()
		w.connect(users[i], "phone", []string{"one", "two"}[i%2])
	}
	d := w.delivery()
	d.post = func(_ context.Context, _ string, events []event.Event) ([]fn.Result, error) {
		return make([]fn.Result, len(events)), nil
	}
	events := []event.Event{appendedEvent(b, "1", strings.Repeat("x", 100), users[:500]...), appendedEvent(b, "1.1", strings.Repeat("x", 100), users[500:]...)}
	f := fanout(d)
	for b.Loop() {
		if err := f(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
}
