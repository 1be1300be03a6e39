package account

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/functions/user"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

// people can sign in at the real provider.
var people = []imtest.OIDCUser{
	{ID: "1", Username: "ann", Password: "pw", FirstName: "Ann", Email: "Ann@example.org", EmailVerified: true},
	{ID: "2", Username: "bob", Password: "pw", FirstName: "Bob", Email: "bob@example.org"},
	{ID: "3", Username: "cyd", Password: "pw", FirstName: "Cyd", Email: "cyd@example.org", EmailVerified: true},
}

func back(provider string) string { return strings.ReplaceAll(redirect, "{provider}", provider) }

// newOAuthWorld is a world with a real provider under two names, and others.
func newOAuthWorld(t testing.TB, more ...providerSetting) *world {
	t.Helper()
	issuer := imtest.OIDC(t, people, back("real"), back("twin"))
	list := append([]providerSetting{
		{Name: "real", Issuer: issuer, ClientID: "tidings", ClientSecret: "secret"},
		{Name: "twin", Issuer: issuer, ClientID: "tidings", ClientSecret: "secret"},
	}, more...)
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, map[string]string{"OAUTH_PROVIDERS": string(b)})
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// browse signs somebody in at the real provider, as a browser does that is sent
// to a URL, and returns what it comes back with.
func browse(t testing.TB, at, who string) (code, state string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Port() == "9" { // nobody is there: the client reads its URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	id := authRequest.FindSubmatch(page)
	if err != nil || id == nil {
		t.Fatalf("%s is no page to sign in: %s %v", resp.Request.URL, page, err)
	}
	resp, err = browser.PostForm(resp.Request.URL.String(), url.Values{"id": {string(id[1])}, "username": {who}, "password": {"pw"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("%s does not lead back: %v", resp.Request.URL, err)
	}
	return to.Query().Get("code"), to.Query().Get("state")
}

// start begins a flow.
func (w *world) start(provider, token string) (s started) {
	w.t.Helper()
	in := fields{"provider": provider}
	if token != "" {
		in["password"] = "correct horse"
	}
	w.call("oauth-start", token, 200, in, &s)
	return s
}

// come is what a client sends who comes back.
func come(provider string, s started, code, state string) fields {
	return fields{"provider": provider, "state": state, "code": code, "flow": s.Flow, "device": "d-" + im.NewID(), "platform": "web"}
}

// signIn signs somebody in by the real provider.
func (w *world) signIn(who string) (in user.SignedIn) {
	w.t.Helper()
	s := w.start("real", "")
	code, state := browse(w.t, s.URL, who)
	w.call("oauth-callback", "", 200, come("real", s, code, state), &in)
	return in
}

func TestSigningInByAnotherService(t *testing.T) {
	w := newOAuthWorld(t)
	first := w.signIn("ann")
	if first.User.Account != "ann" || first.User.Name == "" {
		t.Errorf("%+v", first.User)
	}
	var self im.Self
	w.call("user-get", first.AccessToken, 200, fields{"user": "me"}, &self)
	if self.Email != "ann@example.org" || !self.EmailVerified || !self.NoPassword {
		t.Errorf("%+v", self)
	}
	if again := w.signIn("ann"); again.User != first.User {
		t.Errorf("the second time: %+v", again.User)
	}
	w.call("user-login", "", 401, fields{"account": "ann", "password": "correct horse", "device": "d", "platform": "web"}, nil)
	w.call("user-login", "", 401, fields{"account": "ann", "password": "", "device": "d", "platform": "web"}, nil)
	var list identityList
	w.call("identity-list", first.AccessToken, 200, fields{}, &list)
	if len(list.Identities) != 1 || list.Identities[0].Provider != "real" || list.Identities[0].Name != "ann" {
		t.Errorf("%+v", list)
	}
	w.call("identity-delete", first.AccessToken, 409, fields{"provider": "real"}, nil) // the only way
	w.call("password-forgot", "", 200, fields{"email": "ann@example.org"}, nil)
	w.call("password-reset", "", 200, fields{"email": "ann@example.org", "code": w.mail("ann@example.org"), "new": "correct horse"}, nil)
	in := w.login("ann", "correct horse")
	w.call("identity-delete", in.AccessToken, 200, fields{"provider": "real"}, nil)
	w.call("identity-delete", in.AccessToken, 200, fields{"provider": "real"}, nil)

	// The account of a name that is taken is another.
	other := w.join("cyd")
	if cyd := w.signIn("cyd"); cyd.User.ID == other.User.ID || !strings.HasPrefix(cyd.User.Account, "cyd-") {
		t.Errorf("%+v", cyd.User)
	}
	// Many who are somebody new at once are one.
	w.exec(`DELETE FROM users WHERE account <> 'cyd'`)
	var users [4]string
	var all sync.WaitGroup
	for i := range users {
		s := w.start("real", "")
		code, state := browse(t, s.URL, "ann")
		all.Go(func() {
			var in user.SignedIn
			status, answer, err := w.post("oauth-callback", "", come("real", s, code, state))
			if err != nil || status != 200 || json.Unmarshal(answer, &in) != nil {
				t.Errorf("%d %s, %v", status, answer, err)
			}
			users[i] = in.User.ID
		})
	}
	all.Wait()
	if slices.Sort(users[:]); len(slices.Compact(users[:])) != 1 {
		t.Errorf("%q", users)
	}
}

// An account is taken over by an address only if both sides have verified it.
func TestP6AccountsAreLinkedByProvedAddressesOnly(t *testing.T) {
	w := newOAuthWorld(t)
	claims := w.join("mallory") // who only says that it is theirs
	w.call("user-update", claims.AccessToken, 200, fields{"email": "ann@example.org"}, nil)
	if ann := w.signIn("ann"); ann.User.ID == claims.User.ID {
		t.Fatal("somebody is signed in to the account of who waits for them")
	}
	w.call("email-verify", claims.AccessToken, 200, fields{"password": "correct horse"}, nil)
	w.call("email-confirm", claims.AccessToken, 409, fields{"code": w.mail("ann@example.org")}, nil)

	cyd := w.verified("cydney", "cyd@example.org")
	if got := w.signIn("cyd"); got.User.ID != cyd.User.ID {
		t.Errorf("both have verified it: %+v", got.User)
	}
	if got := w.signIn("cyd"); got.User.ID != cyd.User.ID {
		t.Errorf("and again: %+v", got.User)
	}
	// It stays linked when the address changes.
	w.call("user-update", cyd.AccessToken, 200, fields{"email": "cyd@example.net"}, nil)
	if got := w.signIn("cyd"); got.User.ID != cyd.User.ID {
		t.Errorf("with another address here: %+v", got.User)
	}

	bob := w.verified("bobby", "bob@example.org")
	s := w.start("real", "")
	code, state := browse(t, s.URL, "bob")
	w.call("oauth-callback", "", 403, come("real", s, code, state), nil) // he has not verified it there
	s = w.start("real", bob.AccessToken)
	code, state = browse(t, s.URL, "bob")
	w.call("oauth-callback", bob.AccessToken, 200, come("real", s, code, state), nil) // but may say that it is him
	if got := w.signIn("bob"); got.User.ID != bob.User.ID {
		t.Errorf("linked: %+v", got.User)
	}
	s = w.start("twin", bob.AccessToken)
	code, state = browse(t, s.URL, "cyd")
	w.call("oauth-callback", bob.AccessToken, 409, come("twin", s, code, state), nil) // that is somebody else's
	s = w.start("real", bob.AccessToken)
	code, state = browse(t, s.URL, "bob")
	w.call("oauth-callback", bob.AccessToken, 200, come("real", s, code, state), nil) // again does nothing
}

func TestP6AFlowIsOfWhoBeganIt(t *testing.T) {
	w := newOAuthWorld(t)
	victim, mallory := w.join("victim"), w.join("mallory")
	type try struct {
		in    fields
		token string
	}
	for name, tt := range map[string]struct {
		begin  string // with whose token
		change func(*try)
	}{
		"of another client: login CSRF":     {"", func(c *try) { c.in["flow"] = w.start("real", "").Flow }},
		"of a client without a flow":        {"", func(c *try) { c.in["flow"] = "" }},
		"with a state that was never given": {"", func(c *try) { c.in["state"] = "STATE" }},
		"with the state of another flow": {"", func(c *try) {
			u, _ := url.Parse(w.start("real", "").URL)
			c.in["state"] = u.Query().Get("state")
		}},
		"without a code":               {"", func(c *try) { c.in["code"] = "" }},
		"with a made-up code":          {"", func(c *try) { c.in["code"] = "made-up" }},
		"by another provider":          {"", func(c *try) { c.in["provider"] = "twin" }},
		"said to be of another issuer": {"", func(c *try) { c.in["iss"] = "https://evil.example" }},
		"with the code of another flow: code injection": {"", func(c *try) {
			c.in["code"], _ = browse(t, w.start("real", "").URL, "ann")
		}},
		"to sign in, by who is signed in":      {"", func(c *try) { c.token = victim.AccessToken }},
		"to link, by who is not signed in":     {victim.AccessToken, func(c *try) { c.token = "" }},
		"to link, by somebody else: link CSRF": {mallory.AccessToken, func(c *try) { c.token = victim.AccessToken }},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.start("real", tt.begin)
			code, state := browse(t, s.URL, "ann")
			c := try{come("real", s, code, state), tt.begin}
			tt.change(&c)
			w.call("oauth-callback", c.token, 403, c.in, nil)
			w.counts(0, `SELECT count(*) FROM identities`)
			// Nor is the flow good afterwards, if it is the one that was meant.
			if c.in["state"] == state && c.in["flow"] == s.Flow {
				w.call("oauth-callback", tt.begin, 403, come("real", s, code, state), nil)
			}
		})
	}
	s := w.start("real", "")
	code, state := browse(t, s.URL, "ann")
	in := come("real", s, code, state)
	var ok int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			status, _, err := w.post("oauth-callback", "", in)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && status == 200 {
				ok++
			}
		})
	}
	all.Wait()
	if ok != 1 {
		t.Errorf("replayed, it signs in %d times", ok)
	}
	w.call("oauth-callback", "", 403, in, nil)
}

// made notes the accounts of users that are made.
type made struct {
	identities
	accounts []string
}

func (m *made) CreateUserOf(_ context.Context, u im.User, _ im.Claim) error {
	m.accounts = append(m.accounts, u.Account)
	return nil
}

type anything struct{ fromLimiter }

func (anything) AllowRegistration(context.Context, string) error { return nil }
func (anything) Mark(context.Context, string) error              { return nil }

// Whoever is called elsewhere as nobody may be called here is called otherwise.
func TestNobodyIsGivenAReservedAccountBySigningInFromElsewhere(t *testing.T) {
	names, err := proc.Build(t.Context(), imtest.Env(t, nil), user.NamesIn)
	if err != nil {
		t.Fatal(err)
	}
	m := &made{}
	b := &callback{users: m, limit: anything{}, names: names, newcomers: anything{}}
	for _, account := range []string{"admin", "Ad!min", "supp0rt", "octocat"} {
		if err := b.create(t.Context(), "", im.Claim{Account: account}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"user-", "user-", "user-", "octocat"} {
		if !strings.HasPrefix(m.accounts[i], want) {
			t.Errorf("%q", m.accounts)
		}
	}
}

// Who sees the state, which passes through browsers and providers, does not take
// the flow from the client that began it.
func TestP7WhoSeesTheStateOfAFlowDoesNotEndIt(t *testing.T) {
	w := newOAuthWorld(t)
	s := w.start("real", "")
	code, state := browse(t, s.URL, "ann")
	for _, flow := range []string{"", "guessed", w.start("real", "").Flow} {
		in := come("real", s, code, state)
		in["flow"] = flow
		w.call("oauth-callback", "", 403, in, nil)
	}
	w.call("oauth-callback", "", 200, come("real", s, code, state), nil)
}

func TestWhereAFlowLeads(t *testing.T) {
	w := newOAuthWorld(t)
	ann := w.join("ann")
	w.call("oauth-start", "", 404, fields{"provider": "nobody"}, nil)
	w.call("oauth-callback", "", 404, fields{"provider": "nobody", "device": "d", "platform": "web"}, nil)
	for _, evil := range []string{"https://evil.example", back("twin"), back("real") + "/", back("real") + "?next=evil", redirect} {
		w.call("oauth-start", "", 400, fields{"provider": "real", "redirect": evil}, nil)
	}
	w.call("oauth-start", ann.AccessToken, 403, fields{"provider": "real"}, nil) // a token alone links nothing
	w.call("oauth-start", "x.y.z", 401, fields{"provider": "real"}, nil)
	var s started
	w.call("oauth-start", "", 200, fields{"provider": "real", "redirect": "com.example.app:/oauth/real"}, &s)
	u, err := url.Parse(s.URL)
	q := u.Query()
	if err != nil || q.Get("redirect_uri") != "com.example.app:/oauth/real" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 || !strings.Contains(q.Get("scope"), "openid") || strings.Contains(s.URL, s.Flow) || q.Get("client_secret") != "" {
		t.Errorf("%s", s.URL)
	}
}

// Who has a second factor is asked for it, however they sign in; nothing is
// linked before.
func TestP6ASecondFactorIsAskedForByWhicheverWay(t *testing.T) {
	w := newOAuthWorld(t)
	cyd := w.verified("cydney", "cyd@example.org")
	secret, recovery := w.protect(cyd, "correct horse")
	s := w.start("real", "")
	code, state := browse(t, s.URL, "cyd")
	in := come("real", s, code, state)
	var p im.Problem
	w.call("oauth-callback", "", 401, in, &p)
	if p.Kind != im.SecondFactor {
		t.Errorf("%+v", p)
	}
	w.counts(0, `SELECT count(*) FROM identities`)
	in["totp"] = "000000"
	w.call("oauth-callback", "", 401, in, nil)
	in["totp"] = codeAt(t, secret, 1)
	stolen := fields{"flow": "another"}
	for k, v := range in {
		if stolen[k] == nil {
			stolen[k] = v
		}
	}
	var got user.SignedIn
	w.call("oauth-callback", "", 200, in, &got)
	if got.User.ID != cyd.User.ID {
		t.Errorf("%+v", got.User)
	}
	w.counts(1, `SELECT count(*) FROM identities`)
	in["totp"] = recovery[0]
	w.call("oauth-callback", "", 403, in, nil) // the flow has ended
	w.call("oauth-callback", "", 403, stolen, nil)
}

// Who has no password proves by signing in again what others give theirs for.
func TestWhoHasNoPasswordSignsInAgain(t *testing.T) {
	w := newOAuthWorld(t)
	ann := w.signIn("ann")
	w.call("totp-setup", ann.AccessToken, 200, fields{}, nil)
	w.exec(`UPDATE sessions SET created = now() - interval '6 minutes'`)
	w.call("token-refresh", "", 200, fields{"refresh_token": ann.RefreshToken}, &ann)
	w.call("totp-setup", ann.AccessToken, 401, fields{}, nil)
	w.call("totp-setup", ann.AccessToken, 401, fields{"password": "correct horse"}, nil)
	w.call("oauth-start", ann.AccessToken, 401, fields{"provider": "twin"}, nil)
	w.call("user-delete", ann.AccessToken, 401, fields{"password": ""}, nil)
	ann = w.signIn("ann")
	w.call("user-delete", ann.AccessToken, 200, fields{"password": ""}, nil)
	w.counts(0, `SELECT count(*) FROM users WHERE deleted IS NULL`)
}

// Nothing of who was deleted is left.
func TestADeletedUserIsForgotten(t *testing.T) {
	w := newOAuthWorld(t)
	cyd := w.verified("cydney", "cyd@example.org")
	w.signIn("cyd")
	_, recovery := w.protect(cyd, "correct horse")
	w.call("password-forgot", "", 200, fields{"email": "cyd@example.org"}, nil)
	w.mail("cyd@example.org")
	w.call("password-forgot", "", 200, fields{"email": "cyd@example.org"}, nil)
	for _, table := range []string{"identities", "second_factors", "email_codes", "mails"} {
		w.counts(1, `SELECT count(*) FROM `+table)
	}
	w.call("user-delete", cyd.AccessToken, 403, fields{"password": "correct horse"}, nil)
	w.call("user-delete", cyd.AccessToken, 200, fields{"password": "correct horse", "code": recovery[0]}, nil)
	for _, table := range []string{"identities", "second_factors", "recovery_codes", "email_codes", "mails"} {
		w.counts(0, `SELECT count(*) FROM `+table)
	}
	w.counts(0, `SELECT count(*) FROM users u WHERE u::text LIKE '%cyd%'`)
	if again := w.signIn("cyd"); again.User.ID == cyd.User.ID {
		t.Error("who was deleted is back")
	}
}
