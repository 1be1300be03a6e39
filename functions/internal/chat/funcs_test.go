package chat

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
)

// settings are of real services, with their tables and topics and these users.
func settings(t testing.TB, users ...string) map[string]string {
	t.Helper()
	vars := map[string]string{
		"POSTGRES_URL":  imtest.Postgres(t),
		"REDIS_URL":     imtest.Redis(t),
		"KAFKA_BROKERS": strings.Join(imtest.Kafka(t), ","),
		"SEAL_KEYS":     "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
	}
	env := imtest.Env(t, vars)
	if err := postgres.Migrate(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	group := im.GroupInfo{ID: staff, Name: "staff", Owner: users[0], Members: users, Created: im.Now()}
	if err := db.CreateGroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	return vars
}

// process serves the function as a process of its own would.
func process(t testing.TB, vars map[string]string) (url string) {
	t.Helper()
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), Ingest)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL + "/chat-ingest"
}

func sealed(t testing.TB, vars map[string]string, s event.Submitted) event.Event {
	t.Helper()
	ring, err := event.ParseKeyring(vars["SEAL_KEYS"])
	if err != nil {
		t.Fatal(err)
	}
	s.At = im.Now()
	e := submitted(t, s)
	e.TraceParent = ""
	ring.Sign(&e)
	return e
}

func TestP5ProcessesAgreeOnAMessageThatIsSentToEach(t *testing.T) {
	vars := settings(t, ann, bob)
	client := fn.NewHTTPClient(20 * time.Second)
	var first []event.Placed
	for range 2 {
		events := []event.Event{
			sealed(t, vars, text(ann, "u:"+bob, "1", "hello")),
			sealed(t, vars, text(bob, "g:"+staff, "2", "all")),
			sealed(t, vars, text(ann, "u:"+nobody, "3", "anybody?")),
			sealed(t, vars, text(nobody, "g:"+staff, "4", "me too")),
		}
		got, err := fn.Post(t.Context(), client, process(t, vars), events)
		if err != nil {
			t.Fatal(err)
		}
		if im.KindOf(got[2].Err()) != im.NotFound || im.KindOf(got[3].Err()) != im.Denied {
			t.Errorf("refused: %v, %v", got[2].Err(), got[3].Err())
		}
		var placed []event.Placed
		for _, r := range got[:2] {
			var p event.Placed
			if err := json.Unmarshal(r.Data, &p); err != nil || r.Err() != nil || !im.IsMessageID(p.ID) {
				t.Fatalf("%+v, %v", r, err)
			}
			placed = append(placed, p)
		}
		if first == nil {
			first = placed
		} else if placed[0] != first[0] || placed[1] != first[1] {
			t.Errorf("placed %v, first %v", placed, first)
		}
	}
}

func TestP6NobodySubmitsButTheGateway(t *testing.T) {
	vars := settings(t, ann, bob)
	url := process(t, vars)
	client := fn.NewHTTPClient(20 * time.Second)
	good := sealed(t, vars, text(ann, "u:"+bob, "1", "hello"))
	other := sealed(t, map[string]string{"SEAL_KEYS": "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("y", 32)))}, text(ann, "u:"+bob, "1", "hello"))
	none, changed := good, good
	none.Seal = ""
	changed.Data = []byte(strings.Replace(string(good.Data), "hello", "evils", 1))
	for name, e := range map[string]event.Event{"unsealed": none, "sealed by another": other, "changed": changed} {
		got, err := fn.Post(t.Context(), client, url, []event.Event{e})
		if err != nil || got[0].Status != 422 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := fn.Post(t.Context(), client, url, []event.Event{good}); err != nil || got[0].Err() != nil {
		t.Errorf("good: %+v, %v", got, err)
	}
}

// BenchmarkBatch is of 64 messages of 64 pairs: checked, placed, written and
// answered, over HTTP.
func BenchmarkBatch(b *testing.B) {
	users := make([]string, 128)
	for i := range users {
		users[i] = im.NewID()
	}
	vars := settings(b, users...)
	url := process(b, vars)
	client := fn.NewHTTPClient(20 * time.Second)
	const size = 64
	n := 0
	for b.Loop() {
		b.StopTimer()
		events := make([]event.Event, size)
		for i := range events {
			n++
			events[i] = sealed(b, vars, text(users[2*i], "u:"+users[2*i+1], fmt.Sprint(n), strings.Repeat("x", 100)))
		}
		b.StartTimer()
		got, err := fn.Post(b.Context(), client, url, events)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range got {
			if err := r.Err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "messages/s")
}
