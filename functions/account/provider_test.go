package account

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/tidings-im/tidings/shared/im"
)

// A liar is a provider that says what a test wants it to say.
type liar struct {
	url    string
	key    *ecdsa.PrivateKey
	signs  *ecdsa.PrivateKey // with which it signs
	claims fields            // of the ID token
	info   fields            // of its user info
	raw    string            // in the place of the ID token
	status int               // of its answers to codes
	sent   map[string]string // with the code
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{key: key, signs: key, status: 200}
	mux := http.NewServeMux()
	say := func(pattern string, what func(*http.Request) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, v := what(r)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(v)
		})
	}
	say("/.well-known/openid-configuration", func(*http.Request) (int, any) {
		return 200, fields{"issuer": l.url, "authorization_endpoint": l.url + "/auth", "token_endpoint": l.url + "/token",
			"userinfo_endpoint": l.url + "/userinfo", "jwks_uri": l.url + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}}
	})
	say("/keys", func(*http.Request) (int, any) {
		return 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
	})
	say("/userinfo", func(*http.Request) (int, any) { return 200, l.info })
	say("/token", func(r *http.Request) (int, any) {
		l.sent = map[string]string{}
		r.ParseForm()
		for k := range r.PostForm {
			l.sent[k] = r.PostForm.Get(k)
		}
		if l.status != 200 {
			return l.status, fields{"error": "invalid_grant"}
		}
		token := l.raw
		if token == "" {
			token = l.sign(t)
		}
		return 200, fields{"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": token}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	l.url = srv.URL
	return l
}

func (l *liar) sign(t *testing.T) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: l.signs, KeyID: "1"}}, nil)
	b, jsonErr := json.Marshal(l.claims)
	if err := errors.Join(err, jsonErr); err != nil {
		t.Error(err)
		return ""
	}
	signed, err := signer.Sign(b)
	if err != nil {
		t.Error(err)
		return ""
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return compact
}

func TestP6AnIDTokenIsBelievedOnlyIfItIsForThisSignIn(t *testing.T) {
	f := flow{Redirect: back("liar"), Verifier: oauth2.GenerateVerifier(), Nonce: "nonce"}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, tt := range map[string]struct {
		lie   func(*liar)
		want  error
		email string
	}{
		"as it should be":                     {lie: func(*liar) {}, email: "ann@example.org"},
		"verified, in words":                  {lie: func(l *liar) { l.claims["email_verified"] = "true" }, email: "ann@example.org"},
		"not verified":                        {lie: func(l *liar) { l.claims["email_verified"] = false }},
		"not verified, in words":              {lie: func(l *liar) { l.claims["email_verified"] = "false" }},
		"not said to be verified":             {lie: func(l *liar) { delete(l.claims, "email_verified") }},
		"an address that is none":             {lie: func(l *liar) { l.claims["email"] = "ann" }},
		"the address in the user info":        {lie: func(l *liar) { delete(l.claims, "email") }, email: "info@example.org"},
		"the user info of somebody else":      {lie: func(l *liar) { delete(l.claims, "email"); l.info["sub"] = "2" }, want: im.Denied},
		"the nonce of another sign-in":        {lie: func(l *liar) { l.claims["nonce"] = "another" }, want: im.Denied},
		"no nonce":                            {lie: func(l *liar) { delete(l.claims, "nonce") }, want: im.Denied},
		"of another issuer: mix-up":           {lie: func(l *liar) { l.claims["iss"] = "https://accounts.example.org" }, want: im.Denied},
		"for another client":                  {lie: func(l *liar) { l.claims["aud"] = "another" }, want: im.Denied},
		"for several, of whom none is named":  {lie: func(l *liar) { l.claims["aud"] = []string{"tidings", "another"} }, want: im.Denied},
		"for several, of whom another is":     {lie: func(l *liar) { l.claims["aud"] = []string{"tidings", "another"}; l.claims["azp"] = "another" }, want: im.Denied},
		"for several, of whom this is":        {lie: func(l *liar) { l.claims["aud"] = []string{"tidings", "another"}; l.claims["azp"] = "tidings" }, email: "ann@example.org"},
		"expired":                             {lie: func(l *liar) { l.claims["exp"] = time.Now().Add(-time.Minute).Unix() }, want: im.Denied},
		"signed by somebody else":             {lie: func(l *liar) { l.signs = other }, want: im.Denied},
		"not signed":                          {lie: func(l *liar) { l.raw = part(`{"alg":"none"}`) + "." + part(`{}`) + "." }, want: im.Denied},
		"none at all":                         {lie: func(l *liar) { l.raw = "x" }, want: im.Denied},
		"without a subject":                   {lie: func(l *liar) { delete(l.claims, "sub") }, want: im.Denied},
		"of another access token":             {lie: func(l *liar) { l.claims["at_hash"] = part("another hash 16b") }, want: im.Denied},
		"for a code that is not good":         {lie: func(l *liar) { l.status = 400 }, want: im.Denied},
		"by a provider that is out of order":  {lie: func(l *liar) { l.status = 503 }, want: im.Unavailable},
		"longer than anybody wants to listen": {lie: func(l *liar) { l.claims["name"] = strings.Repeat("x", 2<<20) }, want: im.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiar(t)
			l.claims = fields{"iss": l.url, "aud": "tidings", "sub": "1", "nonce": "nonce", "exp": time.Now().Add(time.Minute).Unix(),
				"email": "Ann@Example.org", "email_verified": true, "preferred_username": "ann"}
			l.info = fields{"sub": "1", "email": "info@example.org", "email_verified": true}
			tt.lie(l)
			p, err := newOIDC(providerSetting{Name: "liar", Issuer: l.url, ClientID: "tidings", ClientSecret: "secret"}, newProviderClient())
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.claim(t.Context(), f, "code")
			if !errors.Is(err, tt.want) {
				t.Fatalf("%+v, %v; want %v", c, err, tt.want)
			}
			if tt.want == nil && c != (im.Claim{Provider: "liar", Issuer: l.url, Subject: "1", Account: "ann", Email: tt.email}) {
				t.Errorf("%+v", c)
			}
			if l.sent["code"] != "code" || l.sent["code_verifier"] != f.Verifier || l.sent["redirect_uri"] != f.Redirect || l.sent["grant_type"] != "authorization_code" {
				t.Errorf("it was asked with %v", l.sent)
			}
		})
	}
}

// gitHubAt answers as GitHub documents it ("Authorizing OAuth apps", "Get the
// authenticated user", "List email addresses for the authenticated user").
func gitHubAt(t *testing.T, emails []fields) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if r.PostFormValue("code") != "good" || r.PostFormValue("client_secret") != "secret" || r.PostFormValue("code_verifier") != "verifier" {
			fmt.Fprint(w, `{"error":"bad_verification_code","error_description":"The code passed is incorrect or expired.","error_uri":"/x"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"gho_16C7e42F292c6912E7710c838347Ae178B4a","scope":"read:user,user:email","token_type":"bearer"}`)
	})
	known := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.EqualFold(r.Header.Get("Authorization"), "bearer gho_16C7e42F292c6912E7710c838347Ae178B4a") {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"Bad credentials"}`)
			return false
		}
		return true
	}
	mux.HandleFunc("GET /api/user", func(w http.ResponseWriter, r *http.Request) {
		if known(w, r) {
			fmt.Fprint(w, `{"login":"octocat","id":583231,"node_id":"MDQ6VXNlcjE=","name":"monalisa octocat","email":"evil@example.org"}`)
		}
	})
	mux.HandleFunc("GET /api/user/emails", func(w http.ResponseWriter, r *http.Request) {
		if known(w, r) {
			json.NewEncoder(w).Encode(emails)
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestGitHub(t *testing.T) {
	octocat := fields{"email": "Octocat@github.com", "verified": true, "primary": true, "visibility": "public"}
	with := func(k string, v any) fields {
		f := maps.Clone(octocat)
		f[k] = v
		return f
	}
	for name, tt := range map[string]struct {
		emails []fields
		code   string
		want   error
		email  string
	}{
		"a primary address that is verified":         {emails: []fields{with("primary", false), octocat}, code: "good", email: "octocat@github.com"},
		"a primary address that is not verified":     {emails: []fields{with("verified", false)}, code: "good"},
		"a verified address that is not the primary": {emails: []fields{with("primary", false)}, code: "good"},
		"no address":              {emails: []fields{}, code: "good"},
		"a code that is not good": {emails: []fields{octocat}, code: "bad", want: im.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			at := gitHubAt(t, tt.emails)
			p, err := newGitHub(providerSetting{Name: "github", ClientID: "tidings", ClientSecret: "secret", URL: at, API: at + "/api/"}, newProviderClient())
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.claim(t.Context(), flow{Redirect: back("github"), Verifier: "verifier"}, tt.code)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%+v, %v", c, err)
			}
			if tt.want == nil && c != (im.Claim{Provider: "github", Issuer: at, Subject: "583231", Account: "octocat", Name: "monalisa octocat", Email: tt.email}) {
				t.Errorf("%+v", c)
			}
		})
	}
	p, err := newGitHub(providerSetting{Name: "github", ClientID: "tidings", ClientSecret: "secret"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := p.begin(t.Context(), flow{Redirect: back("github"), Verifier: oauth2.GenerateVerifier()}, "STATE")
	for _, want := range []string{"https://github.com/login/oauth/authorize?", "client_id=tidings", "state=STATE", "code_challenge_method=S256", "scope=read%3Auser+user%3Aemail"} {
		if err != nil || !strings.Contains(to, want) {
			t.Errorf("%s has no %s, %v", to, want, err)
		}
	}
}

func TestAccountsOfWhoComesFromElsewhere(t *testing.T) {
	for name, want := range map[string]string{
		"octocat": "octocat", "Ann.Lee": "ann.lee", "1st": "st-", "ann@example.org": "user-", "李": "user-", "": "user-", "a": "a-", "--x_y": "x_y",
		strings.Repeat("abc", 30): strings.Repeat("abc", 30)[:20],
	} {
		got := accountOf(name, false)
		if im.CheckAccount(got) != nil || got != want && !(strings.HasSuffix(want, "-") && strings.HasPrefix(got, want)) {
			t.Errorf("%q becomes %q", name, got)
		}
		if again := accountOf(name, true); im.CheckAccount(again) != nil || again == accountOf(name, true) {
			t.Errorf("%q becomes %q", name, again)
		}
	}
}

func TestProvidersThatAreNone(t *testing.T) {
	for name, list := range map[string]string{
		"no JSON":          `google`,
		"no list":          `{"name":"a"}`,
		"a misspelt field": `[{"name":"a","isuer":"https://a","client_id":"i","client_secret":"hush"}]`,
		"no name":          `[{"issuer":"https://a","client_id":"i","client_secret":"hush"}]`,
		"no secret":        `[{"name":"a","issuer":"https://a","client_id":"i"}]`,
		"no issuer":        `[{"name":"a","client_id":"i","client_secret":"hush"}]`,
		"in clear":         `[{"name":"a","issuer":"http://a.example","client_id":"i","client_secret":"hush"}]`,
		"another kind":     `[{"name":"a","kind":"saml","client_id":"i","client_secret":"hush"}]`,
		"twice":            `[{"name":"a","kind":"github","client_id":"i","client_secret":"hush"},{"name":"a","kind":"github","client_id":"i","client_secret":"hush"}]`,
	} {
		if _, err := parseProviders(list, nil); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []string{"", "/path", "javascript:alert(1)", "data:text/html,x", "http://app.example/cb", "https://u@app.example/cb", "https://app.example/cb#x"} {
		if _, err := parseRedirects([]string{r}); err == nil {
			t.Errorf("%q is taken", r)
		}
	}
}
