package push

import (
	"encoding/json"
	"errors"
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
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
)

// A site is functions of the area on real services, with users ann and bob and
// a gateway that has registered.
type site struct {
	db       *pgtest.DB
	presence *redis.Presence
	ring     *event.Keyring
	url      string
	got      chan string // what was sent to the gateway: path, type and body
}

func newSite(t *testing.T, more map[string]string, functions ...fn.Func) *site {
	t.Helper()
	vars := fntest.Settings(t, more)
	vars["POSTGRES_URL"], vars["REDIS_URL"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t)
	env := imtest.Env(t, vars)
	s := &site{got: make(chan string, 8)}
	var errs [4]error
	s.db, errs[0] = pgtest.Open(t.Context(), env)
	client, err := redis.Open(t.Context(), env)
	errs[1] = err
	s.ring, errs[2] = fn.Keyring(env)
	h, err := fn.Mount(t.Context(), imtest.Env(t, vars), functions...)
	errs[3] = err
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if s.presence, err = client.NewPresence(env, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{ann, bob} {
		if err := s.db.CreateUser(t.Context(), im.User{ID: u, Account: u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
		s.got <- r.URL.Path + " " + r.Header.Get("Ce-Type") + " " + string(body)
	}))
	t.Cleanup(gateway.Close)
	if err := client.RegisterGateway(t.Context(), "gw", gateway.URL, time.Minute); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *site) connect(t *testing.T, user string) im.Conn {
	t.Helper()
	c, _, err := s.presence.Connect(t.Context(), im.Conn{ID: "conn-" + user, User: user, Gateway: "gw", Device: "phone", Platform: "ios", Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// post posts an event to a function and returns the status of it.
func (s *site) post(t *testing.T, function string, e event.Event) int {
	t.Helper()
	res, err := fn.Post(t.Context(), fn.NewHTTPClient(20*time.Second), s.url+"/"+function, []event.Event{e})
	if err != nil {
		t.Fatal(err)
	}
	return res[0].Status
}

// pushed returns what was pushed, if anything was.
func (s *site) pushed(t *testing.T) (p event.Pushed, ok bool) {
	t.Helper()
	select {
	case got := <-s.got:
		body, is := strings.CutPrefix(got, "/push "+event.Push+" ")
		if err := json.Unmarshal([]byte(body), &p); !is || err != nil {
			t.Fatalf("pushed %s (%v)", got, err)
		}
		return p, true
	default:
		return p, false
	}
}

func TestBothFunctionsFindAGateway(t *testing.T) {
	s := newSite(t, nil, Fanout, Signal)
	s.connect(t, bob)
	for _, tt := range []struct {
		function string
		e        event.Event
		want     event.Pushed
	}{
		{"push-fanout", appendedEvent(t, "1", "hello", ann, bob), event.Pushed{To: []event.Recipient{{User: bob, Seq: 2}}}},
		{"push-signal", signalEvent(t, ann, "phone", im.Direct(ann, bob)), event.Pushed{To: []event.Recipient{{User: bob}}}},
	} {
		unsealed := tt.e
		s.ring.Sign(&tt.e)
		if status := s.post(t, tt.function, unsealed); status != 422 {
			t.Errorf("%s without a seal: %d", tt.function, status)
		}
		if status := s.post(t, tt.function, tt.e); status != 204 {
			t.Errorf("%s: %d", tt.function, status)
		}
		if p, ok := s.pushed(t); !ok || len(p.To) != 1 || p.To[0] != tt.want.To[0] {
			t.Errorf("%s pushed %+v, %v", tt.function, p, ok)
		}
	}
	if p, ok := s.pushed(t); ok {
		t.Errorf("something else was pushed: %+v", p)
	}
}
