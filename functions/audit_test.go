package functions

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
)

// journal is a log that can be read.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

// records returns those of the security log.
func (j *journal) records(t *testing.T) (all []map[string]any) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(j.all.Bytes()) {
		var rec map[string]any
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatal(err)
		}
		if rec["security"] != nil {
			all = append(all, rec)
		}
	}
	return all
}

// Every event that the security log claims to have is in it after it has
// happened, caused by the functions themselves; and nothing is that was secret.
func TestEveryEventOfTheSecurityLogIsRecorded(t *testing.T) {
	vars := down(t)
	maps.Copy(vars, map[string]string{
		"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "REDIS_URL": imtest.Redis(t), "KAFKA_BROKERS": strings.Join(imtest.Kafka(t), ","), "INBOX_STORE": "postgres",
		"SIGN_INS_PER_MINUTE": "15", "AUDIT_TOPIC": "true", "REFRESH_GRACE": "0",
	})
	log := &journal{}
	env := proc.NewEnv(func(name string) string { return vars[name] }, slog.New(slog.NewJSONHandler(log, nil)))
	defer env.Close()
	if err := kafka.EnsureTopics(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	var used []fn.Func
	for _, f := range All {
		if f.Public && (strings.HasPrefix(f.Name, "user-") || strings.HasPrefix(f.Name, "group-") || strings.HasPrefix(f.Name, "bot-") || strings.HasPrefix(f.Name, "webhook-") ||
			strings.HasPrefix(f.Name, "session-") || strings.HasPrefix(f.Name, "password-c") || strings.HasPrefix(f.Name, "totp-") || f.Name == "identity-delete" || f.Name == "push-unsubscribe" || f.Name == "token-refresh") {
			used = append(used, f)
		}
		if f.Name == "inbox-heads" {
			used = append(used, f)
		}
	}
	h, err := fn.Mount(t.Context(), env, used...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	ring, err := event.ParseKeyring(vars["SEAL_KEYS"])
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		ID, Session, Secret, Token string
		AccessToken                string `json:"access_token"`
		RefreshToken               string `json:"refresh_token"`
		TokenID                    string `json:"token_id"`
		User, Bot                  struct{ ID string }
	}
	// call is made as a gateway makes it for a client at an address.
	call := func(function, token string, status int, in map[string]any) (out answer) {
		t.Helper()
		e, err := event.New(event.CallType(function), "gateway", "192.0.2.7", in)
		if err != nil {
			t.Fatal(err)
		}
		ring.Sign(&e)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/"+function, bytes.NewReader(e.AppendJSON(nil)))
		req.Header.Set("Content-Type", event.Structured)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status {
			t.Fatalf("%s answers %d %s, want %d", function, resp.StatusCode, b, status)
		}
		_ = json.Unmarshal(b, &out) // a problem has other fields
		return out
	}
	const password, other = "correct horse battery", "staple correct horse"
	sign := func(account, password, device string, status int) answer {
		t.Helper()
		return call("user-login", "", status, map[string]any{"account": account, "password": password, "device": device, "platform": "ios"})
	}
	call("user-register", "", 200, map[string]any{"account": "ann", "password": password})
	bob := call("user-register", "", 200, map[string]any{"account": "bob", "password": password})
	sign("ann", "wrong "+password, "phone-1", 401)
	ann, eve := sign("ann", password, "phone-1", 200), sign("bob", password, "phone-2", 200)
	as := ann.AccessToken
	call("session-prove", as, 200, map[string]any{"password": password})
	call("user-update", as, 200, map[string]any{"email": "ann@example.org"})
	call("totp-confirm", as, 200, map[string]any{"code": codeOf(t, call("totp-setup", as, 200, map[string]any{"password": password}).Secret)})
	call("identity-delete", as, 200, map[string]any{"provider": "github"})
	call("push-unsubscribe", as, 200, map[string]any{})
	bot := call("bot-create", as, 200, map[string]any{"account": "annbot", "name": "B", "scopes": []string{"users:read"}})
	call("bot-token-create", as, 200, map[string]any{"bot": bot.Bot.ID, "name": "second", "scopes": []string{"users:read"}})
	call("webhook-create", as, 200, map[string]any{"bot": bot.Bot.ID, "url": "https://example.org/hook", "events": []string{"message"}})
	group := call("group-create", as, 200, map[string]any{"name": "Lunch", "members": []string{bob.ID}})
	call("group-role", as, 200, map[string]any{"group": group.ID, "user": bob.ID, "role": "admin"})
	call("group-dissolve", eve.AccessToken, 403, map[string]any{"group": group.ID})
	call("password-change", as, 403, map[string]any{"old": "wrong " + password, "new": other})
	next := call("password-change", as, 200, map[string]any{"old": password, "new": other})
	call("user-get", as, 401, map[string]any{"user": "me"})
	fresh := call("token-refresh", "", 200, map[string]any{"refresh_token": next.RefreshToken})
	call("token-refresh", "", 200, map[string]any{"refresh_token": fresh.RefreshToken})
	call("token-refresh", "", 401, map[string]any{"refresh_token": next.RefreshToken})
	call("user-delete", eve.AccessToken, 200, map[string]any{"password": password})
	if resp, err := http.Post(srv.URL+"/inbox-heads", "application/json", strings.NewReader(`{"users":[]}`)); err != nil {
		t.Fatal(err)
	} else if resp.Body.Close(); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Fatalf("an event without a seal is answered %d", resp.StatusCode)
	}
	for statuses := 0; ; statuses++ { // until it is too often
		if resp, err := http.Post(srv.URL+"/user-login", "application/json", strings.NewReader(`{"account":"cyd","password":"wrong password","device":"d","platform":"web"}`)); err != nil {
			t.Fatal(err)
		} else if resp.Body.Close(); resp.StatusCode == http.StatusTooManyRequests {
			break
		}
		if statuses > 200 {
			t.Fatal("nobody is told that it was too often")
		}
	}
	for i := 0; ; i++ {
		resp, err := http.Post(srv.URL+"/user-register", "application/json", strings.NewReader(`{"account":"cyd","password":"staple correct"}`))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode == http.StatusTooManyRequests {
			break
		}
		if i > 200 {
			t.Fatal("nobody is told that it was too often")
		}
	}

	if !slices.ContainsFunc(log.records(t), func(r map[string]any) bool { return r["function"] == "inbox-heads" && r["reason"] == "seal" }) {
		t.Error("an event without a seal is not in the log")
	}
	by := map[string]map[string]any{}
	for _, r := range log.records(t) {
		if by[r["security"].(string)] == nil {
			by[r["security"].(string)] = r
		}
	}
	for _, e := range audit.Events {
		if by[string(e)] == nil {
			t.Errorf("%s is not in the log", e)
		}
	}
	for e, want := range map[audit.Event]map[string]any{
		audit.LoginFail:          {"function": "user-login", "reason": "unauthenticated", "user": ann.User.ID, "address": "192.0.2.7", "device": "phone-1", "platform": "ios", "level": "WARN"},
		audit.LoginSuccess:       {"function": "user-login", "user": ann.User.ID, "session": ann.Session, "address": "192.0.2.7", "device": "phone-1", "platform": "ios", "level": "INFO"},
		audit.PasswordChange:     {"function": "password-change", "user": ann.User.ID, "session": ann.Session, "device": "phone-1"},
		audit.PermissionsChanged: {"function": "group-role", "user": ann.User.ID, "target": map[string]any{"group": group.ID, "user": bob.ID}},
		audit.TokenRevoked:       {"reason": "revoked", "user": ann.User.ID, "session": ann.Session},
		audit.TokenReuse:         {"function": "token-refresh", "user": ann.User.ID, "session": next.Session},
		audit.AuthzFail:          {"function": "group-dissolve", "user": bob.ID, "reason": "denied"},
	} {
		for name, value := range want {
			if got := by[string(e)][name]; !equal(got, value) {
				t.Errorf("%s has %s %v, want %v", e, name, got, value)
			}
		}
	}
	for _, secret := range []string{password, other, "ann@example.org", ann.AccessToken, ann.RefreshToken, bot.Token, "example.org/hook", "Lunch"} {
		if b, _ := json.Marshal(log.records(t)); strings.Contains(string(b), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestTheSecurityLogIsAboutWhatConcernsAccounts(t *testing.T) {
	for _, f := range All {
		if _, about := f.RecordOf(); f.Public && f.Scope == fn.People && !about && !slices.Contains(unrecorded, f.Name) {
			t.Errorf("%s concerns an account: declare what the security log records of it", f.Name)
		}
	}
}

// unrecorded is what concerns an account and is nothing that the security log
// is about: who looks, and pictures.
var unrecorded = []string{"session-list", "identity-list", "bot-list", "bot-token-list", "webhook-list", "push-key", "avatar-set"}

func codeOf(t *testing.T, secret string) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}
