package chat

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/token"
)

// settings are of real services, with their tables and topics and these users.
func settings(t testing.TB, users ...string) map[string]string {
	t.Helper()
	vars := fntest.Settings(t, map[string]string{
		"POSTGRES_URL":  imtest.Migrated(t, postgres.Migrate),
		"REDIS_URL":     imtest.Redis(t),
		"KAFKA_BROKERS": strings.Join(imtest.Kafka(t), ","),
	})
	env := imtest.Env(t, vars)
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if err := db.CreateUser(t.Context(), im.User{ID: u, Account: "u" + u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	group := im.GroupInfo{ID: staff, Name: "staff", Owner: users[0], Policy: im.PolicyInvite, Created: im.Now()}
	if _, _, err := db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.CreateGroup(ctx, group, users[1:])
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	return vars
}

// process serves the functions as a process of its own would.
func process(t testing.TB, vars map[string]string) (url string) {
	t.Helper()
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), Ingest, Send)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL + "/chat-ingest"
}

// sendTo calls message-send of a process as a user, under an Idempotency-Key
// unless that is "".
func sendTo(t *testing.T, vars map[string]string, url, user, key, body string) (status int, placed event.Placed) {
	t.Helper()
	tokens, err := token.OpenIssuer(imtest.Env(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	bearer, _, err := tokens.Issue(im.Caller{User: user, Session: user, Device: "bot", Platform: "bot"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", strings.Replace(url, "chat-ingest", "message-send", 1), bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", event.JSON)
	req.Header.Set("Authorization", "Bearer "+bearer)
	if key != "" {
		req.Header.Set(fn.IdempotencyKey, key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(answer, &placed); err != nil || !im.IsMessageID(placed.ID) {
			t.Errorf("answered %s, %v", answer, err)
		}
	}
	return resp.StatusCode, placed
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

// A message that is sent by a call is placed as all are, and it is one message
// however often, by whichever way and through whichever process it comes.
func TestP5AMessageSentByACallIsOneThoughTheGateForgets(t *testing.T) {
	vars := settings(t, ann, bob)
	one, two := process(t, vars), process(t, vars)
	hello := fmt.Sprintf(`{"to":"u:%s","text":"hello","id":"7"}`, bob)
	keyed := fmt.Sprintf(`{"to":"u:%s","text":"hello"}`, bob)
	forget := func() {
		t.Helper()
		opt, err := goredis.ParseURL(vars["REDIS_URL"])
		if err != nil {
			t.Fatal(err)
		}
		client := goredis.NewClient(opt)
		defer client.Close()
		kept, err := client.Keys(t.Context(), "once:*").Result()
		if err != nil || len(kept) == 0 {
			t.Fatalf("the gate keeps %q, %v", kept, err)
		}
		if err := client.Del(t.Context(), kept...).Err(); err != nil {
			t.Fatal(err)
		}
	}

	status, first := sendTo(t, vars, one, ann, "", hello)
	if status != 200 || first.Conversation != im.Direct(ann, bob) || first.Time == 0 {
		t.Fatalf("%d, %+v", status, first)
	}
	if status, again := sendTo(t, vars, two, ann, "", hello); status != 200 || again != first {
		t.Errorf("again: %d, %+v; first %+v", status, again, first)
	}
	bySocket, err := fn.Post(t.Context(), fn.NewHTTPClient(20*time.Second), two, []event.Event{sealed(t, vars, text(ann, "u:"+bob, "7", "hello"))})
	var placed event.Placed
	if err != nil || json.Unmarshal(bySocket[0].Data, &placed) != nil || placed != first {
		t.Errorf("by a socket: %+v, %v; first %+v", bySocket, err, first)
	}
	if status, _ := sendTo(t, vars, one, ann, "", strings.Replace(hello, "hello", "other", 1)); status != 409 {
		t.Errorf("another message under its id is answered %d", status)
	}

	_, a := sendTo(t, vars, one, ann, "key-1", keyed)
	if status, again := sendTo(t, vars, two, ann, "key-1", keyed); status != 200 || again != a || a == first {
		t.Errorf("under the same key: %d, %+v; first %+v", status, again, a)
	}
	forget()
	if status, again := sendTo(t, vars, two, ann, "key-1", keyed); status != 200 || again != a {
		t.Errorf("under the same key, which the gate has forgotten: %d, %+v; first %+v", status, again, a)
	}
	if _, b := sendTo(t, vars, one, ann, "key-2", keyed); b == a {
		t.Error("messages under two keys are one")
	}
	_, c := sendTo(t, vars, one, ann, "", keyed)
	if _, d := sendTo(t, vars, one, ann, "", keyed); c == d {
		t.Error("messages under no key and no id are one")
	}
	for body, want := range map[string]int{
		fmt.Sprintf(`{"to":"u:%s","text":"hello"}`, nobody):              404,
		fmt.Sprintf(`{"to":"g:%s","text":"hello"}`, others):              403,
		fmt.Sprintf(`{"to":"u:%s","text":"hello","from":"x"}`, bob):      400,
		fmt.Sprintf(`{"to":"u:%s","text":"hello","kind":"notice"}`, bob): 400,
	} {
		if status, _ := sendTo(t, vars, one, ann, "", body); status != want {
			t.Errorf("%s is answered %d, want %d", body, status, want)
		}
	}
	if status, p := sendTo(t, vars, one, bob, "", fmt.Sprintf(`{"to":"g:%s","text":"hello"}`, staff)); status != 200 || p.Conversation != im.Group(staff) {
		t.Errorf("to the group: %d, %+v", status, p)
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
