package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/imtest/steps"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/vault"
	"github.com/tidings-im/tidings/shared/webhook"
)

const dieDelivering = "WEBHOOK_TEST_DELIVERS"

// TestAProcessThatDelivers is what the next test kills, and nothing otherwise.
func TestAProcessThatDelivers(t *testing.T) {
	asked := os.Getenv(dieDelivering)
	if asked == "" {
		return
	}
	var of struct {
		Events []event.Appended
		Hook   string
		Ack    string
	}
	if err := json.Unmarshal([]byte(asked), &of); err != nil {
		t.Fatal(err)
	}
	d, r, env := openDeliverer(t, os.Getenv)
	defer env.Close()
	if err := d.deliver(t.Context(), of.Events); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(of.Ack) // from here on Kafka does not bring them again
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := r.run(t.Context(), of.Hook); err != nil {
		t.Fatal(err)
	}
}

func openDeliverer(t *testing.T, vars func(string) string) (*deliverer, *runner, *proc.Env) {
	t.Helper()
	env := proc.NewEnv(vars, slog.New(slog.DiscardHandler))
	db, err := pgtest.Open(context.WithoutCancel(t.Context()), env)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(env)
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	d := newDeliverer(db, 1000)
	d.send, d.dropped = func(string, string) {}, m.dropped.Add
	return d,
		&runner{store: db, send: webhook.NewSender(5*time.Second, true).Send, open: opener(v), now: time.Now, pause: pauses.Equal, disable: time.Hour, metrics: m}, env
}

// A process that delivers is killed by SIGKILL after each of its statements and
// each of its requests, and amid these. Once the lease of what it had in hand is
// over, another goes on: the endpoint gets each message, in the order of its
// conversation, signed, and under one id however often.
func TestAKilledDelivererLosesNoMessageAndRepeatsUnderTheSameID(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	var mu sync.Mutex
	var acked bool
	var got []received
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		d := received{header: r.Header.Clone(), body: b}
		switch {
		case r.URL.Path == "/ack":
			acked = true
		case err == nil && json.Unmarshal(b, &d.delivery) == nil: // and whole
			got = append(got, d)
		}
	}))
	t.Cleanup(endpoint.Close)
	watch := steps.New(t)
	to := watch.HTTP(endpoint.URL)
	vars := map[string]string{"POSTGRES_URL": w.vars["POSTGRES_URL"], "SEAL_KEYS": w.vars["SEAL_KEYS"]}
	env := []string{"POSTGRES_URL=" + watch.Postgres(vars["POSTGRES_URL"]), "SEAL_KEYS=" + vars["SEAL_KEYS"]}
	d, r, own := openDeliverer(t, func(k string) string { return vars[k] })
	defer own.Close()
	h := w.hook(as, bot, to, nil)
	kills := map[string]int{}
	for _, when := range []steps.When{steps.Amid, steps.After} {
		for at := 1; ; at++ {
			mu.Lock()
			acked, got = false, nil
			mu.Unlock()
			var events []event.Appended
			conversations := []im.Conversation{im.Group(im.NewID()), im.Group(im.NewID())}
			for i := range 6 {
				m := said(conversations[i%2], ann, fmt.Sprint(i), ann, bot).m
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				events = append(events, event.Appended{Message: b, Entries: []event.Recipient{{User: bot, Seq: int64(i)}}})
			}
			asked, err := json.Marshal(map[string]any{"Events": events, "Hook": h.Webhook.ID, "Ack": to + "/ack"})
			if err != nil {
				t.Fatal(err)
			}
			killed := watch.Run("TestAProcessThatDelivers", append(env, dieDelivering+"="+string(asked)), at, when)
			mu.Lock()
			again := !acked
			mu.Unlock()
			if again { // Kafka was not told that they have arrived
				if err := d.deliver(t.Context(), events); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.sql.Exec(t.Context(), `UPDATE webhooks SET taken = now(), url = $1`, endpoint.URL); err != nil { // the lease is over
				t.Fatal(err)
			}
			due, err := w.db.DueWebhooks(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, hook := range due {
				if err := r.run(t.Context(), hook.ID); err != nil {
					t.Fatal(err)
				}
			}
			w.see(as, h.Webhook.ID, "empty", settled)
			if _, err := w.sql.Exec(t.Context(), `UPDATE webhooks SET url = $1`, to); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			first, ids := map[im.Conversation][]string{}, map[string]string{}
			for _, d := range got {
				m := d.message()
				if id := d.header.Get(webhook.HeaderID); ids[m.ID] == "" {
					ids[m.ID] = id
					first[m.Conversation] = append(first[m.Conversation], m.Text)
				} else if ids[m.ID] != id {
					t.Errorf("message %s comes as %s and as %s", m.ID, ids[m.ID], id)
				}
				if err := verify(t, h.Secret, d); err != nil {
					t.Error(err)
				}
			}
			for i, c := range conversations {
				if want := fmt.Sprintf("%d %d %d", i, i+2, i+4); strings.Join(first[c], " ") != want {
					t.Errorf("of %s there come %q, want %s", c, first[c], want)
				}
			}
			if len(got) > 2*len(events) {
				t.Errorf("there come %d for %d messages: more than each once more", len(got), len(events))
			}
			mu.Unlock()
			if t.Failed() {
				t.Fatalf("killed %s step %d, %q", when, at, killed)
			}
			if killed == "" {
				break
			}
			kills[when.String()+" "+strings.Fields(killed)[0]]++
		}
	}
	t.Logf("killed %v", kills)
	for of, n := range map[string]int{"amid POST": 6, "after POST": 6, "after GET": 1, "after SELECT": 3, "after UPDATE": 1} {
		if kills[of] < n {
			t.Errorf("%d processes were killed %s, want %d", kills[of], of, n)
		}
	}
}
