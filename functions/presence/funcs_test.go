package presence

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

// TestPresenceGet has the function run on real services: ann, who is there,
// lets only friends see it, and bob is none.
func TestPresenceGet(t *testing.T) {
	env := imtest.Env(t, fntest.Settings(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "REDIS_URL": imtest.Redis(t)}))
	db, err := pgtest.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{ann, bob} {
		if err := db.CreateUser(t.Context(), im.User{ID: u, Account: u, Name: u}, "-"); err != nil {
			t.Fatal(err)
		}
	}
	client, err := redis.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	presence, err := client.NewPresence(env, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{ann, bob} {
		if _, _, err := presence.Connect(t.Context(), im.Conn{ID: "c", User: u, Gateway: "gw", Device: "phone", Platform: "ios", Session: "s"}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := fn.Mount(t.Context(), env, Get)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	tokens, err := token.OpenIssuer(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		as, body string
		status   int
		says     string
	}{
		{ann, `{"users":"` + ann + `"}`, 200, `{"presence":[{"user":"` + ann + `","online":true}]}`},
		{bob, `{"users":"` + ann + `,` + bob + `,` + cleo + `"}`, 200,
			`{"presence":[{"user":"` + ann + `","online":false},{"user":"` + bob + `","online":true},{"user":"` + cleo + `","online":false}]}`},
		{bob, `{"users":"me"}`, 400, `"invalid"`},
		{bob, `{"users":"` + ann + `","all":true}`, 400, `"invalid"`},
		{"", `{"users":"` + ann + `"}`, 401, `"unauthenticated"`},
	} {
		jwt := ""
		if tt.as != "" {
			if jwt, _, err = tokens.Issue(im.Caller{User: tt.as, Session: im.NewID(), Device: "d", Platform: "web"}); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := fntest.Post(t.Context(), srv.URL, jwt, tt.body)
		if err != nil || answer.Status != tt.status || !strings.Contains(string(answer.Body), tt.says) {
			t.Errorf("%s as %q: %d %s, %v", tt.body, tt.as, answer.Status, answer.Body, err)
		}
	}
}
