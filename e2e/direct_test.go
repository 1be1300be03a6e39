package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/token"
)

// direct is all functions behind one port, as an attacker would reach them who
// has got past the gateway.
type direct struct {
	t    *testing.T
	url  string
	vars map[string]string
}

func mountAll(t *testing.T, more ...string) *direct {
	t.Helper()
	vars := system.Settings(t, system.Brokers(t), system.Database(t), imtest.Redis(t))
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	system.Prepare(t, vars)
	return &direct{t, system.Mount(t, imtest.Env(t, vars), vars), vars}
}

// call posts JSON to a function and returns the status and the body.
func (d *direct) call(function, bearer string, data any) (int, string) {
	d.t.Helper()
	body, err := json.Marshal(data)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.post(function, body, "Content-Type", "application/json", "Authorization", bearer)
}

func (d *direct) post(function string, body []byte, header ...string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), "POST", d.url+"/"+function, bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

type account struct {
	im.User
	Session string `json:"session"`
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// signUp registers somebody and signs them in.
func (d *direct) signUp(name string) account {
	d.t.Helper()
	const password = "correct horse battery"
	if status, body := d.call("user-register", "", map[string]string{"account": name, "password": password}); status != 200 {
		d.t.Fatalf("registering: %d %s", status, body)
	}
	status, body := d.call("user-login", "", map[string]string{"account": name, "password": password, "device": "d-" + name, "platform": "web"})
	if status != 200 {
		d.t.Fatalf("signing in: %d %s", status, body)
	}
	var got struct {
		User im.User `json:"user"`
		account
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		d.t.Fatal(err)
	}
	got.account.User = got.User
	return got.account
}

// Functions that anybody may call.
var anybody = map[string]bool{
	"user-register": true, "user-login": true, "token-refresh": true, "bot-login": true,
	"password-forgot": true, "password-reset": true, "oauth-start": true, "oauth-callback": true,
}

func TestP6NoFunctionIsAWayInForWhoCallsItDirectly(t *testing.T) {
	t.Parallel()
	d := mountAll(t)
	ann := d.signUp("ann")
	expired := d.token(ann.User, d.vars["TOKEN_PRIVATE_KEY"], -time.Hour)
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(stranger)
	if err != nil {
		t.Fatal(err)
	}
	forged := d.token(ann.User, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), time.Hour)
	foreign, err := event.ParseKeyring("k1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	if err != nil {
		t.Fatal(err)
	}

	for _, f := range functions.All {
		switch {
		case anybody[f.Name]:
		case f.Accepts == "": // a clock calls it, or anybody: it does no harm
			if status, body := d.call(f.Name, "", map[string]any{}); status != http.StatusNoContent || f.Public {
				t.Errorf("%s: %d %s", f.Name, status, body)
			}
		case f.Public:
			for name, bearer := range map[string]string{
				"no token": "", "an empty token": "Bearer ", "nonsense": "Bearer nonsense", "a forged token": "Bearer " + forged,
				"an expired token": "Bearer " + expired, "a refresh token": "Bearer " + ann.Refresh,
			} {
				if status, body := d.call(f.Name, bearer, map[string]any{}); status != http.StatusUnauthorized {
					t.Errorf("%s with %s: %d %s", f.Name, name, status, body)
				}
			}
		default: // between our own parts
			e, err := event.New(f.Accepts, "attacker", "x", map[string]any{})
			if err != nil {
				t.Fatal(err)
			}
			unsealed := e
			foreign.Sign(&e)
			for name, e := range map[string]event.Event{"no seal": unsealed, "a wrong seal": e} {
				if status, body := d.post(f.Name, e.AppendJSON(nil), "Content-Type", event.Structured, "Authorization", "Bearer "+ann.Access); status != http.StatusUnprocessableEntity {
					t.Errorf("%s with %s: %d %s", f.Name, name, status, body)
				}
			}
			if status, body := d.call(f.Name, "Bearer "+ann.Access, map[string]any{}); status != http.StatusUnprocessableEntity {
				t.Errorf("%s with plain JSON: %d %s", f.Name, status, body)
			}
		}
	}
}

func TestP6NobodyReadsWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	d := mountAll(t)
	ann, bob, eve := d.signUp("ann"), d.signUp("bob"), d.signUp("eve")
	status, body := d.call("group-create", "Bearer "+ann.Access, map[string]any{"name": "two of us", "members": []string{bob.ID}})
	if status != 200 {
		t.Fatalf("creating a group: %d %s", status, body)
	}
	var group im.GroupInfo
	if err := json.Unmarshal([]byte(body), &group); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		who  account
		conv im.Conversation
		want int
	}{
		{"one's own conversation", ann, im.Direct(ann.ID, bob.ID), 200},
		{"one's own group", bob, group.Conversation, 200},
		{"another's conversation", eve, im.Direct(ann.ID, bob.ID), 403},
		{"another's group", eve, group.Conversation, 403},
		{"a group that is none", eve, im.Group(im.NewID()), 403},
		{"no conversation", eve, "g:x", 400},
	} {
		if status, body := d.call("message-history", "Bearer "+tt.who.Access, map[string]any{"conversation": tt.conv}); status != tt.want {
			t.Errorf("reading %s: %d %s, want %d", tt.name, status, body, tt.want)
		}
	}
	// What one asks for cannot name another: the fields to do so do not exist.
	for _, field := range []string{"user", "from", "user_id"} {
		if status, body := d.call("message-sync", "Bearer "+eve.Access, map[string]any{"after": 0, field: ann.ID}); status != 400 {
			t.Errorf("syncing with %q: %d %s", field, status, body)
		}
	}
}

func TestP6ARefreshTokenThatIsUsedAgainEndsTheSession(t *testing.T) {
	t.Parallel()
	d := mountAll(t, "REFRESH_GRACE", "1us") // as if the device had had the answer to the first use
	ann := d.signUp("ann")
	status, body := d.call("token-refresh", "", map[string]string{"refresh_token": ann.Refresh})
	if status != 200 {
		t.Fatalf("refreshing: %d %s", status, body)
	}
	var next account
	if err := json.Unmarshal([]byte(body), &struct{ *account }{&next}); err != nil {
		t.Fatal(err)
	}
	if next.Refresh == ann.Refresh || next.Refresh == "" {
		t.Fatal("the refresh token did not rotate")
	}
	if status, body := d.call("token-refresh", "", map[string]string{"refresh_token": ann.Refresh}); status != 401 && status != 403 {
		t.Errorf("using the old one again: %d %s", status, body)
	}
	if status, body := d.call("token-refresh", "", map[string]string{"refresh_token": next.Refresh}); status != 401 && status != 403 {
		t.Errorf("the session goes on: %d %s", status, body)
	}
}

// token returns an access token of u that was signed with a key and expires
// after ttl, which may be in the past.
func (d *direct) token(u im.User, privatePEM string, ttl time.Duration) string {
	d.t.Helper()
	return d.issue(im.Caller{User: u.ID, Session: im.NewID(), Device: "d", Platform: "web", Proved: im.Now()}, privatePEM, ttl)
}

// as returns the header by which a user of a session is believed.
func (d *direct) as(user, session string) string {
	d.t.Helper()
	c := im.Caller{User: user, Session: session, Device: "5e1f7c0e-phone", Platform: "android", Proved: im.Now()}
	return "Bearer " + d.issue(c, d.vars["TOKEN_PRIVATE_KEY"], time.Hour)
}

func (d *direct) issue(c im.Caller, privatePEM string, ttl time.Duration) string {
	d.t.Helper()
	block, _ := pem.Decode([]byte(privatePEM))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		d.t.Fatal(err)
	}
	s, _, err := token.NewIssuer(key.(ed25519.PrivateKey), "tidings", ttl).Issue(c)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}
