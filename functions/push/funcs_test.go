package push

import (
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
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
)

// TestBothFunctionsFindAGateway has the functions run on real services, with a
// gateway that has registered.
func TestBothFunctionsFindAGateway(t *testing.T) {
	vars := map[string]string{
		"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate),
		"REDIS_URL":    imtest.Redis(t),
		"SEAL_KEYS":    "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
	}
	env := imtest.Env(t, vars)
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{ann, bob} {
		if err := db.CreateUser(t.Context(), im.User{ID: u, Account: u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan string, 4)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		got <- r.URL.Path + " " + r.Header.Get("Ce-Type") + " " + string(body)
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
	if _, _, err := presence.Connect(t.Context(), im.Conn{ID: "c", User: bob, Gateway: "gw", Device: "phone", Platform: "ios", Session: "s"}); err != nil {
		t.Fatal(err)
	}

	ring, err := fn.Keyring(env)
	if err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), Fanout, Signal)
	if err != nil {
		t.Fatal(err)
	}
	functions := httptest.NewServer(h)
	defer functions.Close()
	for _, tt := range []struct {
		function string
		e        event.Event
		want     event.Pushed
	}{
		{"push-fanout", appendedEvent(t, "1", "hello", ann, bob), event.Pushed{To: []event.Recipient{{User: bob, Seq: 2}}}},
		{"push-signal", signalEvent(t, ann, "phone", im.Direct(ann, bob)), event.Pushed{To: []event.Recipient{{User: bob}}}},
	} {
		unsealed := tt.e
		ring.Sign(&tt.e)
		for _, e := range []event.Event{unsealed, tt.e} {
			res, err := fn.Post(t.Context(), fn.NewHTTPClient(20*time.Second), functions.URL+"/"+tt.function, []event.Event{e})
			if err != nil || e.Seal == "" && res[0].Status != 422 || e.Seal != "" && res[0].Status != 204 {
				t.Fatalf("%s, seal %q: %+v, %v", tt.function, e.Seal, res, err)
			}
		}
		select {
		case s := <-got:
			body, ok := strings.CutPrefix(s, "/push "+event.Push+" ")
			var p event.Pushed
			if err := json.Unmarshal([]byte(body), &p); !ok || err != nil || len(p.To) != 1 || p.To[0] != tt.want.To[0] {
				t.Errorf("%s pushed %s (%v)", tt.function, s, err)
			}
		default:
			t.Errorf("%s pushed nothing", tt.function)
		}
	}
	if len(got) > 0 {
		t.Errorf("something else was pushed: %s", <-got)
	}
}
