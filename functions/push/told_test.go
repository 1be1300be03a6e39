package push

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
)

// TestPushPresenceTellsFriends has push-presence run on real services: ann
// comes and goes, and her friend bob, who is connected, is told once of each.
func TestPushPresenceTellsFriends(t *testing.T) {
	vars := map[string]string{
		"POSTGRES_URL":   imtest.Migrated(t, postgres.Migrate),
		"REDIS_URL":      imtest.Redis(t),
		"SEAL_KEYS":      "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
		"PRESENCE_GRACE": "3s", // longer than what is too early takes
	}
	env := imtest.Env(t, vars)
	db, err := postgres.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{ann, bob} {
		if err := db.CreateUser(t.Context(), im.User{ID: u, Account: u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = db.Change(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		_, _, err := tx.Befriend(ctx, ann, bob)
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 8)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		got <- string(body)
	}))
	defer gateway.Close()
	client, err := redis.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.RegisterGateway(t.Context(), "gw", gateway.URL, time.Minute); err != nil {
		t.Fatal(err)
	}
	presence, err := client.NewPresence(env, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(user string) im.Conn {
		t.Helper()
		c, _, err := presence.Connect(t.Context(), im.Conn{ID: "conn-" + user, User: user, Gateway: "gw", Device: "phone", Platform: "ios", Session: "s"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	connect(bob)
	c := connect(ann)

	ring, err := fn.Keyring(env)
	if err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), Presence)
	if err != nil {
		t.Fatal(err)
	}
	functions := httptest.NewServer(h)
	defer functions.Close()
	post := func(seal bool) int {
		t.Helper()
		e, err := event.New(event.PresenceChanged, "test", ann, event.Changed{User: ann})
		if err != nil {
			t.Fatal(err)
		}
		if seal {
			ring.Sign(&e)
		}
		res, err := fn.Post(t.Context(), fn.NewHTTPClient(20*time.Second), functions.URL, []event.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		return res[0].Status
	}
	told := func(online, seen bool) {
		t.Helper()
		select {
		case body := <-got:
			var p event.Pushed
			var f im.Presence
			if err := json.Unmarshal([]byte(body), &p); err != nil || len(p.To) != 1 || p.To[0].User != bob {
				t.Fatalf("pushed %s", body)
			}
			if err := json.Unmarshal(p.Frame, &f); err != nil || f.User != ann || f.Online != online || (f.LastSeen != 0) != seen {
				t.Errorf("told %s", p.Frame)
			}
		default:
			t.Error("told nothing")
		}
	}
	quiet := func() {
		t.Helper()
		if len(got) > 0 {
			t.Errorf("told %s", <-got)
		}
	}
	if status := post(false); status != 422 {
		t.Errorf("an event without a seal: %d", status)
	}
	quiet()
	post(true)
	told(true, false)
	post(true) // another gateway noticed, too
	quiet()
	if err := presence.Disconnect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	post(true) // too early
	quiet()
	imtest.Until(t, "it is told", func() bool {
		if status := post(true); status != 204 {
			t.Fatalf("status %d", status)
		}
		return len(got) > 0
	})
	told(false, true)
}
