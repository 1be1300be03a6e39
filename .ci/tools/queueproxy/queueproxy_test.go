package queueproxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/s3"
	"github.com/tidings-im/tidings/shared/webpush"
)

func TestEveryFunctionBehindQueueProxy(t *testing.T) {
	for _, port := range []string{"8022", "9090", "9095"} {
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			t.Fatalf("queue-proxy and functions need port %s, which somebody has: %v", port, err)
		}
		ln.Close()
	}
	w := newWorld(t)
	all := slices.Clone(functions.All)
	slices.SortFunc(all, func(a, b fn.Func) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range all {
		if !t.Run(f.Name, func(t *testing.T) { w.try(t, f) }) && !w.works {
			t.Fatal("the first function did not come up: the others would not either")
		}
	}
}

// A world is what functions stand on, and who is in it.
type world struct {
	manifests
	queue, functions string // programs
	vars             map[string]string
	gates            []*gate
	ring             *event.Keyring
	direct           http.Handler // all functions, past gates and queue-proxy
	postgres         string

	ann, bob account
	group    im.GroupInfo
	message  im.Message
	file     im.File // complete, of ann's
	bot      string
	botToken string
	hook     string

	works bool // a function came up
}

// limits are settings that keep nobody here from calling as often as a test
// does, and those without which a function has nothing to do.
var limits = map[string]string{
	"CALLS_PER_SECOND":      "1000000",
	"CALLS_BURST":           "1000000",
	"SIGN_INS_PER_MINUTE":   "1000000",
	"BOT_SECRETS_PER_HOUR":  "1000000",
	"BOT_LOGINS_PER_MINUTE": "1000000",
	"MAX_BOTS_PER_USER":     "1000000",
	"MAX_TOKENS_PER_BOT":    "1000000",
	"MAX_WEBHOOKS_PER_BOT":  "1000000",
	"CODES_PER_HOUR":        "1000000",
	"STRANGERS_FIRST_HOUR":  "1000000",
	"STRANGERS_FIRST_DAY":   "1000000",
	"OAUTH_REDIRECTS":       "https://app.example.org/oauth",
	"INBOX_KEEP":            "8760h",
}

type account struct {
	User    im.User `json:"user"`
	Session string  `json:"session"`
	Access  string  `json:"access_token"`
	Refresh string  `json:"refresh_token"`
}

const password = "correct horse battery"

func newWorld(t *testing.T) *world {
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
	var seal [32]byte
	rand.Read(seal[:])
	w := &world{
		manifests: render(t),
		queue:     buildQueue(t),
		functions: imtest.Build(t, "cmd/tidings"),
		vars: map[string]string{
			"POSTGRES_URL":      imtest.Postgres(t),
			"MONGODB_URL":       imtest.Mongo(t),
			"REDIS_URL":         imtest.Redis(t),
			"KAFKA_BROKERS":     strings.Join(imtest.Kafka(t), ","),
			"KAFKA_REPLICATION": "1",
			"INBOX_STORE":       "mongodb",
			"SEAL_KEYS":         "k:" + base64.StdEncoding.EncodeToString(seal[:]),
			"TOKEN_PRIVATE_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
			"TOKEN_PUBLIC_KEYS": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})),
			"S3_URL":            imtest.S3(t),
			"ARCHIVE_URL":       imtest.S3(t) + "/archive",
			"SMTP_URL":          "smtp://127.0.0.1:1?tls=none", // nobody asks for a mail that would be sent
			"OAUTH_PROVIDERS":   `[{"name":"github","kind":"github","client_id":"c","client_secret":"s"}]`,
		},
	}
	if w.vars["VAPID_PRIVATE_KEY"], err = webpush.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	if w.vars["VAPID_PUBLIC_KEY"], err = webpush.PublicKey(w.vars["VAPID_PRIVATE_KEY"]); err != nil {
		t.Fatal(err)
	}
	maps.Copy(w.settings, limits)
	maps.Copy(w.vars, limits)
	if store := w.settings["INBOX_STORE"]; store != w.vars["INBOX_STORE"] {
		t.Fatalf("knative/ keeps inboxes in %s, this test in %s", store, w.vars["INBOX_STORE"])
	}
	if w.ring, err = event.ParseKeyring(w.vars["SEAL_KEYS"]); err != nil {
		t.Fatal(err)
	}
	env := imtest.Env(t, w.vars)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := postgres.Migrate(ctx, env); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(ctx, env); err != nil {
		t.Fatal(err)
	}
	if err := s3.EnsureBucket(ctx, env); err != nil {
		t.Fatal(err)
	}
	if w.direct, err = fn.Mount(t.Context(), env, functions.All...); err != nil {
		t.Fatal(err)
	}
	w.ann, w.bob = w.signUp(t, "ann"), w.signUp(t, "bob")
	w.do(t, "group-create", w.ann, request{"name": "Lunch", "policy": "approval", "members": []string{w.bob.User.ID}}, &w.group)
	w.message = w.say(t)
	w.deliver(t, w.message)
	w.upload(t)
	var bot struct {
		Bot   im.User `json:"bot"`
		Token string  `json:"token"`
	}
	w.do(t, "bot-create", w.ann, request{"account": "ann-bot", "name": "Bot", "scopes": []string{"messages:read"}}, &bot)
	w.bot, w.botToken = bot.Bot.ID, bot.Token
	var hook struct {
		Webhook struct {
			ID string `json:"id"`
		} `json:"webhook"`
	}
	w.do(t, "webhook-create", w.ann, request{"bot": w.bot, "url": "https://bot.example.org/hook", "events": []string{"message"}}, &hook)
	w.hook = hook.Webhook.ID

	w.postgres = w.vars["POSTGRES_URL"]
	for _, s := range []string{"POSTGRES_URL", "MONGODB_URL", "REDIS_URL", "S3_URL", "ARCHIVE_URL"} { // Kafka tells its own address: it has no gate
		var g *gate
		g, w.vars[s] = through(t, w.vars[s])
		w.gates = append(w.gates, g)
	}
	return w
}

// buildQueue builds queue-proxy as Knative releases it: with the versions of
// its own go.mod, not with those that it shares with us here.
func buildQueue(t *testing.T) string {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "knative.dev/serving").Output()
	if err != nil {
		t.Fatalf("which version of Knative Serving: %v", err)
	}
	dir := t.TempDir()
	install := exec.Command("go", "install", "knative.dev/serving/cmd/queue@"+strings.TrimSpace(string(version)))
	install.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("building queue-proxy: %v\n%s", err, out)
	}
	return filepath.Join(dir, "queue")
}

type request = map[string]any

// do calls a function that is to succeed, directly.
func (w *world) do(t *testing.T, function string, by account, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/"+function, bytes.NewReader(body))
	r.Header.Set("Content-Type", event.JSON)
	if by.Access != "" {
		r.Header.Set("Authorization", "Bearer "+by.Access)
	}
	rec := httptest.NewRecorder()
	w.direct.ServeHTTP(rec, r)
	if rec.Code >= 300 {
		t.Fatalf("%s: %d %s", function, rec.Code, rec.Body)
	}
	if out != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) signUp(t *testing.T, name string) (a account) {
	t.Helper()
	w.do(t, "user-register", account{}, request{"account": name, "password": password}, nil)
	w.do(t, "user-login", account{}, request{"account": name, "password": password, "device": "d-" + name, "platform": "web"}, &a)
	return a
}

// upload sends a file of ann's to the store and completes it.
func (w *world) upload(t *testing.T) {
	t.Helper()
	body := []byte("hello")
	sum := sha256.Sum256(body)
	var created struct {
		File   im.File `json:"file"`
		Upload im.Link `json:"upload"`
	}
	w.do(t, "file-create", w.ann, request{"name": "a.txt", "type": "text/plain", "size": len(body), "sha256": hex.EncodeToString(sum[:])}, &created)
	req, err := http.NewRequest(created.Upload.Method, created.Upload.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range created.Upload.Headers {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("sending a file: %s", resp.Status)
	}
	w.do(t, "file-complete", w.ann, request{"file": created.File.ID}, nil)
	w.file = created.File
}

// say returns a message of ann's to bob that is nowhere yet.
func (w *world) say(t *testing.T) im.Message {
	t.Helper()
	now := im.Now()
	id := im.NewMessageID(now)
	return im.Message{ID: id, Conversation: im.Direct(w.ann.User.ID, w.bob.User.ID), Time: now, From: w.ann.User.ID, ClientID: id, Kind: "text", Text: "hello"}
}

// event returns a sealed event.
func (w *world) event(t *testing.T, typ string, data any) event.Event {
	t.Helper()
	e, err := event.New(typ, "/test", "", data)
	if err != nil {
		t.Fatal(err)
	}
	w.ring.Sign(&e)
	return e
}

func (w *world) accepted(t *testing.T, m im.Message) event.Event {
	return w.event(t, event.MessageAccepted, event.Accepted{Message: m, Recipients: []string{w.ann.User.ID, w.bob.User.ID}})
}

// deliver writes a message to history and inboxes, directly.
func (w *world) deliver(t *testing.T, m im.Message) {
	t.Helper()
	for _, function := range []string{"persist-history", "persist-inbox"} {
		e := w.accepted(t, m)
		r := httptest.NewRequest("POST", "/"+function, bytes.NewReader(e.AppendJSON(nil)))
		r.Header.Set("Content-Type", event.Structured)
		rec := httptest.NewRecorder()
		w.direct.ServeHTTP(rec, r)
		if rec.Code != http.StatusNoContent {
			t.Fatalf("%s: %d %s", function, rec.Code, rec.Body)
		}
	}
}

// A subject is a function behind queue-proxy.
type subject struct {
	*world
	fn.Func
	t               *testing.T
	url             string
	port            int // of the function itself
	function, proxy *imtest.Process
	by              account // who calls
}

func (w *world) try(t *testing.T, f fn.Func) {
	port, queuePort := imtest.FreePort(t), imtest.FreePort(t)
	s := &subject{world: w, Func: f, t: t, by: w.ann, port: port, url: fmt.Sprintf("http://127.0.0.1:%d/", queuePort)}
	if f.Name == "user-logout" { // which ends the session
		s.by = w.signUp(t, "leaver")
	}
	s.function = imtest.Run(t, w.manifests.function(f.Name, port, w.vars), w.functions, w.manifests.args(f.Name)...)
	s.proxy = imtest.Run(t, w.manifests.queue(t, f.Name, queuePort, port), w.queue)
	s.ready()
	switch {
	case f.Every > 0:
		s.timed()
		return
	case f.Public:
		s.called()
	default:
		s.sent()
	}
	s.refusals()
	s.down()
	s.stop()
}

// ready waits until queue-proxy says that the function is, as Knative asks it.
func (s *subject) ready() {
	s.t.Helper()
	s.until("it is ready", func() string {
		status, body := s.post("GET", nil, "User-Agent", "kube-probe/1.36", "K-Network-Probe", "queue")
		if status == http.StatusOK && body == "queue" {
			s.works = true
			return ""
		}
		return fmt.Sprint(status, " ", body)
	})
}

// until polls until there is nothing wrong.
func (s *subject) until(what string, wrong func() string) {
	s.t.Helper()
	imtest.Eventually(s.t, what, func() error {
		if w := wrong(); w != "" {
			return errors.New(w)
		}
		return nil
	})
}

var client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

func (s *subject) post(method string, body []byte, header ...string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

func (s *subject) binary(e event.Event) (int, string) {
	header := []string{"Content-Type", event.JSON}
	for name, value := range e.Attributes {
		header = append(header, "Ce-"+name, value)
	}
	return s.post("POST", e.Data, header...)
}

func (s *subject) structured(e event.Event) (int, string) {
	return s.post("POST", e.AppendJSON(nil), "Content-Type", event.Structured)
}

func (s *subject) batch(events ...event.Event) (int, string) {
	return s.post("POST", event.AppendBatch(nil, events), "Content-Type", event.Batch)
}

func (s *subject) want(what string, want int, status int, body string) {
	s.t.Helper()
	if status != want {
		s.t.Errorf("%s: %d %s, want %d", what, status, body, want)
	}
}

// valid returns a sealed event that the function is to take, a new one each
// time, and the status it is to answer.
func (s *subject) valid() (event.Event, int) {
	s.t.Helper()
	users := []event.Recipient{{User: s.ann.User.ID, Seq: 1}, {User: s.bob.User.ID, Seq: 1}}
	switch s.Name {
	case "chat-ingest":
		d := im.Draft{ClientID: im.NewID(), To: "u:" + s.bob.User.ID, Text: "hello"}
		return s.event(s.t, s.Accepts, event.Submitted{From: s.ann.User.ID, Device: "d-ann", At: im.Now(), Draft: d}), http.StatusOK
	case "persist-history", "persist-inbox":
		return s.accepted(s.t, s.say(s.t)), http.StatusNoContent
	case "push-fanout", "notify-away", "webhook-deliver":
		raw, err := json.Marshal(s.message)
		if err != nil {
			s.t.Fatal(err)
		}
		return s.event(s.t, s.Accepts, event.Appended{Message: raw, Entries: users}), http.StatusNoContent
	case "archive-read":
		return s.event(s.t, s.Accepts, event.ArchiveAsk{Conversation: s.message.Conversation, Limit: 1}), http.StatusOK
	case "push-signal":
		return s.event(s.t, s.Accepts, event.Signalled{From: s.ann.User.ID, Device: "d-ann", Conversation: s.message.Conversation, Frame: json.RawMessage(`{"type":"typing"}`)}), http.StatusNoContent
	case "push-presence":
		return s.event(s.t, s.Accepts, event.Changed{User: s.ann.User.ID}), http.StatusNoContent
	case "inbox-heads":
		return s.event(s.t, s.Accepts, event.Heads{Users: []string{s.ann.User.ID, s.bob.User.ID}, Exact: true}), http.StatusOK
	}
	s.t.Fatal("say in this test what it is sent")
	return event.Event{}, 0
}

// sent tries a function of our own parts' events.
func (s *subject) sent() {
	s.t.Helper()
	e, want := s.valid()
	status, first := s.binary(e)
	s.want("binary", want, status, first)
	status, again := s.binary(e)
	s.want("the same again", want, status, again)
	if s.Name == "chat-ingest" && first != again {
		s.t.Errorf("the same again was placed elsewhere: %s and %s", first, again)
	}
	e, _ = s.valid()
	status, body := s.structured(e)
	s.want("structured", want, status, body)

	unsealed, _ := s.valid()
	unsealed.Seal = ""
	status, body = s.binary(unsealed)
	s.want("without a seal", http.StatusUnprocessableEntity, status, body)

	poison := s.event(s.t, s.Accepts, "what is this")
	good, _ := s.valid()
	status, body = s.batch(good, poison, unsealed)
	s.want("a batch", http.StatusOK, status, body)
	var answer struct {
		Results []fn.Result `json:"results"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		s.t.Errorf("the answer to a batch: %v: %s", err, body)
	}
	got := make(map[string]int)
	for _, r := range answer.Results {
		got[r.ID] = r.Status
	}
	if want == http.StatusNoContent && got[good.ID] != 0 || want == http.StatusOK && got[good.ID] != http.StatusOK {
		s.t.Errorf("of a batch, the event that is right: %d", got[good.ID])
	}
	if n := got[poison.ID]; want == http.StatusNoContent && n != http.StatusUnprocessableEntity || n < 400 || n >= 500 {
		s.t.Errorf("of a batch, the event that nobody can read: %d", n)
	}
	if got[unsealed.ID] != http.StatusUnprocessableEntity {
		s.t.Errorf("of a batch, the event without a seal: %d", got[unsealed.ID])
	}
	s.once()
}

// once looks whether what came twice is there once.
func (s *subject) once() {
	s.t.Helper()
	m := s.say(s.t)
	e := s.accepted(s.t, m)
	count := func(body []byte) int { return bytes.Count(body, []byte(`"id":"`+m.ID+`"`)) }
	var raw json.RawMessage
	switch s.Name {
	case "persist-history":
		s.binary(e)
		s.batch(e, e)
		s.do(s.t, "message-history", s.bob, request{"conversation": m.Conversation}, &raw)
	case "persist-inbox":
		s.binary(e)
		s.batch(e, e)
		s.do(s.t, "message-sync", s.bob, request{"after": 0, "limit": 100}, &raw)
	default:
		return
	}
	if n := count(raw); n != 1 {
		s.t.Errorf("a message that came three times is there %d times", n)
	}
}

// Functions that anybody may call.
var anybody = []string{"user-register", "user-login", "token-refresh", "password-forgot", "password-reset", "oauth-start", "oauth-callback", "bot-login"}

// Functions that this test calls with a password or a code that is none.
var unproved = []string{"password-change", "user-delete", "session-prove", "email-verify", "email-confirm", "password-reset", "oauth-callback", "totp-setup", "totp-confirm", "totp-delete"}

// input returns what a public function is called with so that it has to look
// into a store to answer.
func (s *subject) input() request {
	bob, group, conversation, message := s.bob.User.ID, s.group.ID, s.message.Conversation, s.message.ID
	about := request{"conversation": conversation, "message": message}
	if s.Name == "message-recall" || s.Name == "message-delete" {
		own := s.say(s.t)
		s.deliver(s.t, own)
		message = own.ID
	}
	return map[string]request{
		"user-register":       {"account": "u" + strings.ReplaceAll(im.NewID(), "-", "")[:12], "password": password},
		"user-login":          {"account": "bob", "password": password, "device": "d-other", "platform": "web"},
		"token-refresh":       {"refresh_token": s.bob.Refresh},
		"user-search":         {"account": "bob"},
		"user-get":            {"user": bob},
		"user-update":         {"name": "Ann"},
		"password-change":     {"old": "not this one", "new": "another horse battery"},
		"session-revoke":      {"session": im.NewID()},
		"user-delete":         {"password": "not this one"},
		"session-prove":       {"password": "not this one"},
		"presence-get":        {"users": bob},
		"friend-request":      {"user": bob},
		"friend-requests":     {"direction": "incoming"},
		"friend-respond":      {"user": bob, "accept": true},
		"friend-update":       {"user": bob, "remark": "b"},
		"friend-delete":       {"user": bob},
		"block-set":           {"user": bob, "blocked": false},
		"group-create":        {"name": "Dinner"},
		"group-get":           {"group": group},
		"group-update":        {"group": group, "about": "at noon"},
		"group-dissolve":      {"group": im.NewID()},
		"group-members":       {"group": group},
		"group-invite":        {"group": group, "users": []string{bob}},
		"group-remove":        {"group": group, "users": []string{im.NewID()}},
		"group-leave":         {"group": im.NewID()},
		"group-role":          {"group": group, "user": bob, "role": "admin"},
		"group-mute":          {"group": group, "all": false},
		"group-ban":           {"group": group, "user": im.NewID()},
		"group-bans":          {"group": group},
		"group-unban":         {"group": group, "user": im.NewID()},
		"group-join-request":  {"group": group},
		"group-join-requests": {"group": group},
		"group-join-respond":  {"group": group, "user": im.NewID(), "accept": true},
		"message-send":        {"to": "u:" + bob, "text": "hello"},
		"message-history":     {"conversation": conversation},
		"message-recall":      {"conversation": conversation, "message": message},
		"message-edit":        {"conversation": conversation, "message": message, "text": "hello you"},
		"message-react":       {"conversation": conversation, "message": message, "emoji": "👍", "on": true},
		"message-read":        about,
		"message-delete":      {"conversation": conversation, "messages": []string{message}},
		"conversation-update": {"conversation": conversation, "pinned": true},
		"message-search":      {"q": "hello"},
		"file-create":         {"name": "a.txt", "type": "text/plain", "size": 1, "sha256": strings.Repeat("0", 64)},
		"file-complete":       {"file": s.file.ID},
		"file-get":            {"file": s.file.ID},
		"avatar-set":          {"file": ""},
		"email-verify":        {"password": "not this one"},
		"email-confirm":       {"code": "abcd-2345"},
		"password-forgot":     {"email": "nobody@example.org"},
		"password-reset":      {"email": "nobody@example.org", "code": "abcd-2345", "new": "another horse battery"},
		"oauth-start":         {"provider": "github"},
		"oauth-callback":      {"provider": "github", "state": "s", "flow": "f", "code": "c", "device": "d-ann", "platform": "web"},
		"identity-delete":     {"provider": "github"},
		"totp-setup":          {"password": "not this one"},
		"totp-confirm":        {"code": "123456"},
		"totp-delete":         {"password": "not this one", "code": "123456"},
		"bot-create":          {"account": "b" + strings.ReplaceAll(im.NewID(), "-", "")[:12], "name": "Bot", "scopes": []string{"messages:read"}},
		"bot-update":          {"bot": s.bot, "name": "Another"},
		"bot-delete":          {"bot": im.NewID()},
		"bot-token-create":    {"bot": s.bot, "name": "another", "scopes": []string{"messages:read"}},
		"bot-token-list":      {"bot": s.bot},
		"bot-token-delete":    {"bot": s.bot, "token": im.NewID()},
		"bot-login":           {"token": s.botToken},
		"webhook-create":      {"bot": s.bot, "url": "https://bot.example.org/hook", "events": []string{"message"}},
		"webhook-update":      {"webhook": s.hook, "enabled": true},
		"webhook-delete":      {"webhook": im.NewID()},
		"push-subscribe":      {"endpoint": "https://push.example.org/a", "p256dh": s.vars["VAPID_PUBLIC_KEY"], "auth": "AAAAAAAAAAAAAAAAAAAAAA"},
	}[s.Name]
}

func (s *subject) call(token string, in any) (int, string) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	header := []string{"Content-Type", event.JSON}
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return s.post("POST", body, header...)
}

// called tries a public function.
func (s *subject) called() {
	s.t.Helper()
	in := s.input()
	if in == nil {
		in = request{}
	}
	if !slices.Contains(anybody, s.Name) {
		status, body := s.call("", in)
		s.want("nobody", http.StatusUnauthorized, status, body)
		status, body = s.call("not.a.token", in)
		s.want("a false token", http.StatusUnauthorized, status, body)
	}
	status, body := s.call(s.by.Access, request{"no such field": 1})
	s.want("a field that is none", http.StatusBadRequest, status, body)
	if s.Name == "user-logout" { // the second time it is refused
		return
	}
	// As the gateway sends it, and as anybody's tool would: it is the same call.
	for range 2 {
		status, body = s.call(s.by.Access, in)
		if status != http.StatusOK && status != http.StatusForbidden && status != http.StatusNotFound && status != http.StatusConflict {
			if !slices.Contains(unproved, s.Name) || status != http.StatusUnauthorized {
				s.t.Errorf("called: %d %s", status, body)
			}
		}
	}
}

// refusals tries what is no event.
func (s *subject) refusals() {
	s.t.Helper()
	for _, tt := range []struct {
		name   string
		body   string
		header []string
		want   int
	}{
		{"another content type", "hello", []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		{"another encoding of characters", "{}", []string{"Content-Type", "application/json; charset=utf-16"}, http.StatusUnsupportedMediaType},
		{"a structured event that is none", `{"specversion":`, []string{"Content-Type", event.Structured}, http.StatusUnprocessableEntity},
		{"a batch that is none", `{}`, []string{"Content-Type", event.Batch}, http.StatusUnprocessableEntity},
		{"a binary event without a type", "{}", []string{"Content-Type", event.JSON, "Ce-Id", "1", "Ce-Source", "x", "Ce-Specversion", "1.0"}, http.StatusUnprocessableEntity},
		{tooLarge, strings.Repeat(" ", 5<<20), []string{"Content-Type", event.Structured}, http.StatusUnprocessableEntity},
	} {
		header := tt.header
		if s.Public && !slices.Contains(anybody, s.Name) { // without a token nothing else is looked at
			header = append(header, "Authorization", "Bearer "+s.by.Access)
		}
		status, body := s.post("POST", []byte(tt.body), header...)
		if status == 0 && tt.name == tooLarge { // the rest of it is not read, and queue-proxy may be cut off before it has an answer
			continue
		}
		s.want(tt.name, tt.want, status, body)
	}
}

const tooLarge = "a body that is too large"

// asks makes a call that needs a store, and returns the answer.
func (s *subject) asks() (int, string) {
	s.t.Helper()
	if s.Public {
		in := s.input()
		if in == nil {
			in = request{}
		}
		return s.call(s.by.Access, in)
	}
	e, _ := s.valid()
	return s.binary(e)
}

// down tries it while its stores are down, and when they are back.
func (s *subject) down() {
	s.t.Helper()
	for _, g := range s.gates {
		g.close()
	}
	status, body := s.asks()
	want := http.StatusServiceUnavailable
	switch s.Name {
	case "push-fanout":
		want = http.StatusNoContent // a push that fails is dropped: the inbox has it
	case "push-key":
		want = http.StatusOK // which it was told when it started
	}
	s.want("while its stores are down", want, status, body)
	for _, g := range s.gates {
		g.open()
	}
	s.until("it works again", func() string {
		if status, body := s.asks(); status == 0 || status >= 500 {
			return fmt.Sprint(status, " ", body)
		}
		return ""
	})
}

// stop tells it to stop while it reads a request. What Kubernetes does is
// kinder: it waits for queue-proxy first.
func (s *subject) stop() {
	s.t.Helper()
	body := []byte(`{"no such field": 1}`)
	header := "Content-Type: " + event.JSON + "\r\nAuthorization: Bearer " + s.by.Access
	want := http.StatusBadRequest
	if s.Name == "user-logout" {
		want = http.StatusUnauthorized // by now
	}
	if !s.Public {
		e, status := s.valid()
		body, want = e.AppendJSON(nil), status
		header = "Content-Type: " + event.Structured
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(imtest.Patience(s.t)))
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", host, header, len(body))
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") { // the function has begun to read the body
		s.t.Fatalf("in answer to Expect: 100-continue: %q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Write(body[:1]); err != nil {
		s.t.Fatal(err)
	}
	ended := s.terminate()
	s.until("it takes no more connections", s.refusesConnections)
	if _, err := conn.Write(body[1:]); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		s.t.Fatalf("the request that was under way when it was told to stop: %v", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	// The body alone tells: queue-proxy loses the status after a 100 Continue, and answers 200.
	var problem im.Problem
	switch {
	case want == http.StatusNoContent && len(answer) == 0:
	case want == http.StatusOK && json.Valid(answer) && json.Unmarshal(answer, &problem) == nil && problem.Status == 0:
	case want >= 400 && json.Unmarshal(answer, &problem) == nil && problem.Status == want:
	default:
		s.t.Errorf("the request that was under way when it was told to stop: %s, want %d", answer, want)
	}
	<-ended
}

// terminate sends SIGTERM to both, as Kubernetes does to the containers of a
// pod, and returns a channel that is closed when the function has ended.
func (s *subject) terminate() chan struct{} {
	syscall.Kill(s.proxy.Pid(), syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.function.Stop() // fails the test if it takes 30 s
	}()
	return ended
}

func (s *subject) refusesConnections() string {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return ""
	}
	conn.Close()
	return "it does"
}

// timed tries a function that a clock calls.
func (s *subject) timed() {
	s.t.Helper()
	ping, err := event.New("dev.knative.sources.ping", "/apis/v1/namespaces/tidings/pingsources/"+s.Name, "", request{})
	if err != nil {
		s.t.Fatal(err)
	}
	for range 2 {
		status, body := s.binary(ping)
		s.want("a ping", http.StatusNoContent, status, body)
	}
	for _, g := range s.gates {
		g.close()
	}
	status, body := s.binary(ping)
	s.want("a ping while its stores are down", http.StatusServiceUnavailable, status, body)
	for _, g := range s.gates {
		g.open()
	}
	s.until("it works again", func() string {
		if status, body := s.binary(ping); status != http.StatusNoContent {
			return fmt.Sprint(status, " ", body)
		}
		return ""
	})

	// It waits for locks that we hold when it is told to stop.
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	db, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close(context.Background())
	look, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		s.t.Fatal(err)
	}
	defer look.Close(context.Background())
	var tables string
	if err := db.QueryRow(ctx, "select string_agg(quote_ident(tablename), ',') from pg_tables where schemaname = 'public'").Scan(&tables); err != nil {
		s.t.Fatal(err)
	}
	tx, err := db.Begin(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "lock table "+tables+" in access exclusive mode"); err != nil {
		s.t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		status, body := s.binary(ping)
		answered <- fmt.Sprint(status, body)
	}()
	s.until("it waits for a lock", func() string {
		var n int
		if err := look.QueryRow(ctx, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").Scan(&n); err != nil || n == 0 {
			return fmt.Sprint(n, " ", err)
		}
		return ""
	})
	ended := s.terminate()
	s.until("it takes no more connections", s.refusesConnections)
	if err := tx.Rollback(ctx); err != nil {
		s.t.Fatal(err)
	}
	if got := <-answered; got != "204" {
		s.t.Errorf("the ping that was under way when it was told to stop: %s", got)
	}
	<-ended
}
