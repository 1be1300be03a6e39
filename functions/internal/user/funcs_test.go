package user

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/redis"
)

// settings are of services that are not there.
func settings(t *testing.T) map[string]string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"POSTGRES_URL":        "postgres://127.0.0.1:1/d",
		"REDIS_URL":           "redis://127.0.0.1:1",
		"SEAL_KEYS":           "k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))),
		"TOKEN_PRIVATE_KEY":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
		"TOKEN_PUBLIC_KEYS":   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
		"SIGN_INS_PER_MINUTE": "4",
	}
}

// A user registers, signs in, searches, refreshes, has a token stolen and signs
// out, on real services, with a gateway that holds their socket.
func TestTheLifeOfASession(t *testing.T) {
	vars := settings(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"] = imtest.Postgres(t), imtest.Redis(t)
	env := imtest.Env(t, vars)
	if err := postgres.Migrate(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(t.Context(), env, Register, Login, Refresh, Logout, Search)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	call := func(function, token string, status int, in, out any) {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/"+function, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", event.JSON)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
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
		if resp.StatusCode != status {
			t.Fatalf("%s answers %d %s, want %d", function, resp.StatusCode, answer, status)
		}
		if status == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to try again", function)
		}
		if out != nil {
			if err := json.Unmarshal(answer, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended := make(chan event.Ended, 4)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event.Ended
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.URL.Path != "/push" || r.Header.Get("Ce-Type") != event.SessionEnded || r.Header.Get("Ce-Seal") == "" {
			t.Errorf("%s %v: %v", r.URL, r.Header, err)
		}
		ended <- e
		w.WriteHeader(http.StatusNoContent)
	}))
	defer gateway.Close()
	client, err := redis.Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	presence, err := client.NewPresence(env, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.RegisterGateway(t.Context(), "gw", gateway.URL, time.Minute); err != nil {
		t.Fatal(err)
	}
	connect := func(s signedIn) {
		t.Helper()
		c := im.Conn{ID: im.NewID(), User: s.User.ID, Gateway: "gw", Device: "phone", Platform: "ios", Session: s.Session}
		if _, _, err := presence.Connect(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	hasEnded := func(session string, refresh string) {
		t.Helper()
		if e := <-ended; e.Session != session || e.Reason != frame.CloseSignedOut.Reason {
			t.Errorf("the gateway is told %+v", e)
		}
		if got, err := client.Ended(t.Context(), []string{session}); err != nil || !got[session] {
			t.Errorf("%s is not known to have ended: %v", session, err)
		}
		call("token-refresh", "", 401, refreshRequest{refresh}, nil)
	}

	var u im.User
	call("user-register", "", 200, registration{"Ann", "", "correct horse"}, &u)
	call("user-register", "", 409, registration{"ann", "", "correct horse"}, nil)
	call("user-register", "", 400, map[string]string{"acount": "bob", "password": "correct horse"}, nil)

	in := credentials{Account: "ann", Password: "correct horse", Device: "phone", Platform: "ios"}
	var first, second signedIn
	call("user-login", "", 401, credentials{Account: "ann", Password: "wrong horse", Device: "phone", Platform: "ios"}, nil)
	call("user-login", "", 200, in, &first)
	connect(first)
	var list found
	call("user-search", first.AccessToken, 200, searchRequest{"ann"}, &list)
	if len(list.Users) != 1 || list.Users[0] != u || first.User != u {
		t.Errorf("found %+v, signed in %+v, registered %+v", list, first.User, u)
	}
	call("user-search", "", 401, searchRequest{"ann"}, nil)
	call("user-logout", "x.y.z", 401, nothing{}, nil)

	var next issued
	call("token-refresh", "", 200, refreshRequest{first.RefreshToken}, &next)
	call("token-refresh", "", 401, refreshRequest{first.RefreshToken}, nil) // stolen
	hasEnded(first.Session, next.RefreshToken)

	call("user-login", "", 200, in, &second)
	connect(second)
	call("user-logout", second.AccessToken, 200, nothing{}, nil)
	hasEnded(second.Session, second.RefreshToken)
	call("user-logout", second.AccessToken, 200, nothing{}, nil) // again

	call("user-login", "", 200, in, nil)
	call("user-login", "", 429, in, nil) // the fifth in a minute
}

func TestFunctionsStartWithoutTheirServicesButNotWithoutTheirSettings(t *testing.T) {
	vars := settings(t)
	if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), Register, Login, Refresh, Logout, Search); err != nil {
		t.Error(err)
	}
	for f, needs := range map[*fn.Func][]string{
		&Register: {"POSTGRES_URL"},
		&Login:    {"POSTGRES_URL", "REDIS_URL", "TOKEN_PRIVATE_KEY"},
		&Refresh:  {"POSTGRES_URL", "REDIS_URL", "TOKEN_PRIVATE_KEY", "SEAL_KEYS"},
		&Logout:   {"POSTGRES_URL", "REDIS_URL", "TOKEN_PUBLIC_KEYS", "SEAL_KEYS"},
		&Search:   {"POSTGRES_URL", "TOKEN_PUBLIC_KEYS"},
	} {
		for _, need := range needs {
			vars := maps.Clone(vars)
			delete(vars, need)
			_, err := fn.Mount(t.Context(), imtest.Env(t, vars), *f)
			if err == nil || !strings.Contains(err.Error(), need) {
				t.Errorf("%s without %s: %v", f.Name, need, err)
			}
		}
	}
}
