package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// elsewhere is a provider by which users sign in. It speaks as GitHub does,
// and holds clients to PKCE (RFC 7636).
type elsewhere struct {
	t *testing.T
	*httptest.Server

	mu    sync.Mutex
	codes map[string]grant    // that were not exchanged yet
	who   map[string]stranger // by access token
}

// A grant is what a code is for.
type grant struct{ person, challenge, redirect string }

// A stranger is who has an account there.
type stranger struct {
	id       int
	login    string
	email    string
	verified bool
}

var strangers = map[string]stranger{
	"ann-elsewhere":  {1, "ann-elsewhere", "ann@example.org", true},
	"eve-elsewhere":  {2, "eve-elsewhere", "eve@example.org", true},
	"eve-as-ann":     {3, "eve-as-ann", "ann@example.org", false}, // which she never proved
	"new-elsewhere":  {4, "new-elsewhere", "new@example.org", true},
	"anna-elsewhere": {5, "anna-elsewhere", "anna@example.org", true},
}

func openElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{t: t, codes: make(map[string]grant), who: make(map[string]stranger)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/oauth/access_token", e.exchange)
	mux.HandleFunc("GET /api/user", func(w http.ResponseWriter, r *http.Request) {
		p := e.bearer(r)
		e.answer(w, map[string]any{"id": p.id, "login": p.login, "name": p.login})
	})
	mux.HandleFunc("GET /api/user/emails", func(w http.ResponseWriter, r *http.Request) {
		p := e.bearer(r)
		e.answer(w, []map[string]any{{"email": p.email, "primary": true, "verified": p.verified}})
	})
	e.Server = httptest.NewServer(mux)
	t.Cleanup(e.Close)
	return e
}

// setting returns it as OAUTH_PROVIDERS has it.
func (e *elsewhere) setting(name string) string {
	b, err := json.Marshal([]map[string]string{{"name": name, "kind": "github", "client_id": "tidings", "client_secret": "secret", "url": e.URL, "api": e.URL + "/api"}})
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

func (e *elsewhere) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		e.t.Error(err)
	}
}

func (e *elsewhere) bearer(r *http.Request) stranger {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.who[token]
}

// agree is what somebody does there: they sign in and agree, and their browser
// goes back with a state and a code.
func (e *elsewhere) agree(at, who string) (state, code string) {
	e.t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		e.t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" {
		e.t.Errorf("without PKCE or state: %s", at)
	}
	code = rand.Text()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes[code] = grant{who, q.Get("code_challenge"), q.Get("redirect_uri")}
	return q.Get("state"), code
}

func (e *elsewhere) exchange(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	g, ok := e.codes[r.FormValue("code")]
	delete(e.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	ok = ok && base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge && r.FormValue("redirect_uri") == g.redirect && r.FormValue("client_secret") == "secret"
	token := rand.Text()
	if ok {
		e.who[token] = strangers[g.person]
	}
	e.mu.Unlock()
	if !ok {
		e.answer(w, map[string]string{"error": "bad_verification_code"})
		return
	}
	e.answer(w, map[string]string{"access_token": token, "token_type": "bearer"})
}
