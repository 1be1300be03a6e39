package presence

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
)

// TestPresenceGet has the function run on real services: ann, who is there,
// lets only friends see it, and bob is none.
func TestPresenceGet(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	env := imtest.Env(t, map[string]string{
		"POSTGRES_URL":      imtest.Migrated(t, postgres.Migrate),
		"REDIS_URL":         imtest.Redis(t),
		"SEAL_KEYS":         "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
		"TOKEN_PUBLIC_KEYS": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
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
		req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if tt.as != "" {
			jwt, _, err := token.NewIssuer(key, "tidings", time.Hour).Issue(im.Caller{User: tt.as, Session: im.NewID(), Device: "d", Platform: "web"})
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+jwt)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s as %q: %s %s, %v", tt.body, tt.as, resp.Status, body, err)
		}
	}
}
