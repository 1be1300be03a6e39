package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/token"
)

const patience = time.Minute

// a world is the functions of the area on real services, but for Kafka: what
// is told by a notice stays in the outbox.
type world struct {
	t      *testing.T
	url    string
	vars   map[string]string
	db     *pgtest.DB
	sql    *pgxpool.Pool
	ring   *event.Keyring
	issuer *token.Issuer
}

func newWorld(t *testing.T, more map[string]string) *world {
	t.Helper()
	vars := fntest.Settings(t, map[string]string{
		"POSTGRES_URL":         imtest.Migrated(t, postgres.Migrate),
		"REDIS_URL":            imtest.Redis(t),
		"WEBHOOK_PRIVATE":      "true",
		"WEBHOOK_TIMEOUT":      "3s",
		"BOT_SECRETS_PER_HOUR": "1000",
		"CALLS_PER_SECOND":     "1000",
	})
	maps.Copy(vars, more)
	env := imtest.Env(t, vars)
	h, err := fn.Mount(t.Context(), env, Create, List, Update, Delete, Deliver, Retry)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w := &world{t: t, url: srv.URL, vars: vars}
	if w.issuer, err = token.OpenIssuer(env); err != nil {
		t.Fatal(err)
	}
	if w.ring, err = fn.Keyring(env); err != nil {
		t.Fatal(err)
	}
	if w.db, err = pgtest.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if w.sql, err = pgxpool.New(t.Context(), vars["POSTGRES_URL"]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sql.Close)
	return w
}

// person returns a user, and who they are.
func (w *world) person(account string) (user, token string) {
	w.t.Helper()
	u := im.User{ID: im.NewID(), Account: account, Name: account}
	if err := w.db.CreateUser(w.t.Context(), u, "hash"); err != nil {
		w.t.Fatal(err)
	}
	token, _, err := w.issuer.Issue(im.Caller{User: u.ID, Session: im.NewID(), Device: "d", Platform: "web", Proved: im.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	return u.ID, token
}

func (w *world) bot(owner, account string) string {
	w.t.Helper()
	b := im.Bot{ID: im.NewID(), Account: account, Name: account, Created: im.Now()}
	k := im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "t", Scopes: im.Scopes, Created: im.Now()}
	if err := w.db.CreateBot(w.t.Context(), owner, b, k, []byte(b.ID), 100); err != nil {
		w.t.Fatal(err)
	}
	return b.ID
}

// post posts to a function and returns the status and the answer.
func (w *world) post(function, token string, in any, header ...string) (int, string) {
	w.t.Helper()
	answer, err := fntest.Post(w.t.Context(), w.url+"/"+function, token, in, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.Status, string(answer.Body)
}

func (w *world) call(function, token string, in, out any) {
	w.t.Helper()
	status, answer := w.post(function, token, in)
	if status != http.StatusOK {
		w.t.Fatalf("%s answers %d %s", function, status, answer)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(answer), out); err != nil {
			w.t.Fatal(err)
		}
	}
}

type fields map[string]any

func (w *world) hook(token, bot, url string, more fields) withSecret {
	w.t.Helper()
	in := fields{"bot": bot, "url": url, "events": []string{"message"}}
	maps.Copy(in, more)
	var out withSecret
	w.call("webhook-create", token, in, &out)
	if !strings.HasPrefix(out.Secret, "whsec_") || !out.Webhook.Enabled {
		w.t.Fatalf("made %+v", out)
	}
	return out
}

// appended delivers messages to webhook-deliver as persist-inbox tells of them:
// in one batch.
func (w *world) appended(told ...told) {
	w.t.Helper()
	var events []event.Event
	for _, s := range told {
		b, err := json.Marshal(s.m)
		if err != nil {
			w.t.Fatal(err)
		}
		a := event.Appended{Message: b}
		for i, u := range s.to {
			a.Entries = append(a.Entries, event.Recipient{User: u, Seq: int64(i + 1)})
		}
		e, err := event.New(event.InboxAppended, "/test", string(s.m.Conversation), a)
		if err != nil {
			w.t.Fatal(err)
		}
		w.ring.Sign(&e)
		events = append(events, e)
	}
	status, answer := w.post("webhook-deliver", "", json.RawMessage(event.AppendBatch(nil, events)), "Content-Type", event.Batch)
	if status != http.StatusOK && status != http.StatusNoContent || strings.Contains(answer, `"status"`) {
		w.t.Fatalf("webhook-deliver answers %d %s", status, answer)
	}
}

type told struct {
	m  im.Message
	to []string
}

var clock im.Time = im.Now()

// said is a message of somebody, after all before it.
func said(c im.Conversation, from, text string, to ...string) told {
	clock += 1000
	return told{im.Message{ID: im.NewMessageID(clock), Conversation: c, Time: clock, From: from, ClientID: "c", Kind: im.KindText, Text: text}, to}
}

// retry has webhook-retry run as if so long had gone by.
func (w *world) retry(later time.Duration) {
	w.t.Helper()
	for _, table := range []string{"webhooks", "webhook_deliveries"} {
		if _, err := w.sql.Exec(w.t.Context(), `UPDATE `+table+` SET due = due - $1::interval`, later); err != nil {
			w.t.Fatal(err)
		}
	}
	if status, answer := w.post("webhook-retry", "", fields{}); status != http.StatusNoContent {
		w.t.Fatalf("webhook-retry answers %d %s", status, answer)
	}
}

// see waits for a state of a webhook.
func (w *world) see(token, id string, what string, is func(im.Webhook) bool) im.Webhook {
	w.t.Helper()
	var last im.Webhook
	imtest.Eventually(w.t, "the webhook is "+what, func() error {
		var got webhooks
		w.call("webhook-list", token, fields{}, &got)
		if i := slices.IndexFunc(got.Webhooks, func(h im.Webhook) bool { return h.ID == id }); i >= 0 {
			if last = got.Webhooks[i]; is(last) {
				return nil
			}
		}
		return fmt.Errorf("%+v", last)
	})
	return last
}

func settled(h im.Webhook) bool { return h.Waiting == 0 }

// a receiver is an endpoint that answers what it is told to.
type receiver struct {
	*httptest.Server
	t      *testing.T
	got    chan received
	answer func(http.ResponseWriter, *http.Request, delivery)
}

type received struct {
	header http.Header
	body   []byte
	delivery
}

func (r received) message() (m im.Message) {
	json.Unmarshal(r.Data.Message, &m)
	return m
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, *http.Request, delivery)) *receiver {
	r := &receiver{t: t, got: make(chan received, 100), answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		d := received{header: req.Header.Clone(), body: b}
		if err := json.Unmarshal(b, &d.delivery); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		if err != nil {
			t.Error(err)
		}
		r.got <- d
		if r.answer != nil {
			r.answer(rw, req, d.delivery)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next() received {
	r.t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(patience):
		r.t.Fatal("nothing comes")
		return received{}
	}
}

func (r *receiver) none() {
	r.t.Helper()
	select {
	case d := <-r.got:
		r.t.Errorf("there comes %s", d.body)
	default:
	}
}

func verify(t *testing.T, secret string, d received) error {
	t.Helper()
	v, err := standard.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(d.body, d.header)
}

func TestMessagesOfABotsConversationsAreDeliveredSigned(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	all, only := newReceiver(t, nil), newReceiver(t, nil)
	group, other := im.Group(im.NewID()), im.Direct(ann, bot)
	h := w.hook(as, bot, all.URL, nil)
	w.hook(as, bot, only.URL, fields{"conversation": other})

	quiet := said(group, ann, "", ann, bot)
	quiet.m.Kind, quiet.m.Data = im.KindNotice, json.RawMessage(`{"type":"message.read"}`)
	gone := said(group, ann, "", ann, bot)
	gone.m.Recalled = true
	deleted := said(group, ann, "", ann, bot)
	deleted.m = deleted.m.Deleted()
	first, last := said(group, ann, "to all", ann, bot), said(other, ann, "to one", ann, bot)
	w.appended(
		quiet, gone, deleted,
		said(group, bot, "its own", ann, bot),
		said(group, ann, "of others", ann, im.NewID()),
		first, last,
	)
	got := map[string]received{}
	for range 2 {
		d := all.next()
		got[d.message().Text] = d
	}
	d := got["to all"]
	if err := verify(t, h.Secret, d); err != nil {
		t.Error(err)
	}
	if m := d.message(); m.ID != first.m.ID || m.From != ann || d.Type != "message" || d.Data.Bot != bot || d.Data.Webhook != h.Webhook.ID || d.Timestamp != first.m.Time {
		t.Errorf("told %s", d.body)
	}
	if d := only.next(); d.message().ID != last.m.ID || verify(t, h.Secret, d) == nil {
		t.Errorf("told %s", d.body)
	}
	w.see(as, h.Webhook.ID, "empty", settled)
	all.none()
	only.none()

	// Kafka delivers again: what is told again is known by its id.
	w.appended(first)
	if again := all.next(); again.header.Get("webhook-id") != d.header.Get("webhook-id") {
		t.Errorf("%v, and before %v", again.header, d.header)
	}
}

func TestAnEndpointThatHangsDelaysNoOther(t *testing.T) {
	w := newWorld(t, map[string]string{"WEBHOOK_TIMEOUT": "10s"})
	ann, as := w.person("ann")
	stuck, free := w.bot(ann, "stuck"), w.bot(ann, "free")
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request, _ delivery) { <-r.Context().Done() })
	good := newReceiver(t, nil)
	h := w.hook(as, stuck, hanging.URL, nil)
	g := w.hook(as, free, good.URL, nil)
	c := im.Group(im.NewID())
	for i := range 5 {
		start := time.Now()
		w.appended(said(c, ann, fmt.Sprint(i), ann, stuck, free))
		if d := good.next(); d.message().Text != fmt.Sprint(i) {
			t.Errorf("told %s", d.body)
		}
		if took := time.Since(start); took > 9*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	w.see(as, g.Webhook.ID, "empty", settled)
	got := w.see(as, h.Webhook.ID, "failing", func(h im.Webhook) bool { return h.Failing != 0 })
	if got.Failure != "it did not answer in time" || got.Waiting != 5 {
		t.Errorf("%+v", got)
	}
	hanging.next()
	hanging.none() // one attempt is enough to know
}

func TestWhatFailsIsTriedAgainInOrderUnderTheSameID(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	status := make(chan int, 1)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ delivery) { w.WriteHeader(<-status) })
	h := w.hook(as, bot, r.URL, nil)
	c := im.Group(im.NewID())
	status <- 500
	w.appended(said(c, ann, "1", ann, bot), said(c, ann, "2", ann, bot))
	first := r.next()
	w.see(as, h.Webhook.ID, "failing", func(h im.Webhook) bool { return h.Failing != 0 })
	w.retry(0)
	w.appended(said(c, ann, "3", ann, bot))
	r.none() // it is not time
	status <- 503
	w.retry(time.Hour)
	if again := r.next(); again.message().Text != "1" || again.header.Get("webhook-id") != first.header.Get("webhook-id") || verify(t, h.Secret, again) != nil {
		t.Errorf("told %s", again.body)
	}
	w.see(as, h.Webhook.ID, "failing once more", func(h im.Webhook) bool { return h.Failure == "it answered 503" })
	go func() {
		for range 3 {
			status <- 204
		}
	}()
	w.retry(2 * time.Hour)
	for i := 1; i <= 3; i++ {
		if d := r.next(); d.message().Text != fmt.Sprint(i) {
			t.Errorf("told %s, not %d", d.body, i)
		}
	}
	if got := w.see(as, h.Webhook.ID, "empty", settled); got.Failing != 0 || got.Failure != "" {
		t.Errorf("%+v", got)
	}
}

// An endpoint that refuses one message has the others: of other conversations.
func TestAMessageThatIsRefusedHoldsUpItsConversationOnly(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, d delivery) {
		if strings.Contains(string(d.Data.Message), "poison") {
			w.WriteHeader(400)
		}
	})
	h := w.hook(as, bot, r.URL, nil)
	x, y := im.Group(im.NewID()), im.Group(im.NewID())
	w.appended(said(x, ann, "poison", ann, bot), said(x, ann, "behind", ann, bot), said(y, ann, "beside", ann, bot))
	got := map[string]bool{r.next().message().Text: true, r.next().message().Text: true}
	if !got["poison"] || !got["beside"] {
		t.Errorf("told %v", got)
	}
	if got := w.see(as, h.Webhook.ID, "left with two", func(h im.Webhook) bool { return h.Waiting == 2 }); got.Failing != 0 {
		t.Errorf("%+v", got)
	}
	w.appended(said(y, ann, "more", ann, bot))
	if d := r.next(); d.message().Text != "more" {
		t.Errorf("told %s", d.body)
	}
	if _, err := w.sql.Exec(t.Context(), `UPDATE webhook_deliveries SET created = created - interval '25 hours' WHERE message LIKE '%poison%'`); err != nil {
		t.Fatal(err)
	}
	w.retry(time.Hour)
	if d := r.next(); d.message().Text != "behind" || d.Data.Dropped != 1 {
		t.Errorf("told %s", d.body)
	}
	if got := w.see(as, h.Webhook.ID, "empty", settled); got.Dropped != 0 {
		t.Errorf("%+v", got)
	}
}

func TestOfTooManyTheEndpointIsToldHowMany(t *testing.T) {
	w := newWorld(t, map[string]string{"WEBHOOK_QUEUE": "3"})
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, nil)
	h := w.hook(as, bot, r.URL, nil)
	c := im.Group(im.NewID())
	var many []told
	for i := range 10 {
		many = append(many, said(c, ann, fmt.Sprint(i), ann, bot))
	}
	w.appended(many...)
	for i := 7; i < 10; i++ {
		want := int64(0)
		if i == 7 {
			want = 7
		}
		if d := r.next(); d.message().Text != fmt.Sprint(i) || d.Data.Dropped != want {
			t.Errorf("told %s", d.body)
		}
	}
	if got := w.see(as, h.Webhook.ID, "empty", settled); got.Dropped != 0 {
		t.Errorf("%+v", got)
	}
	r.none()
}

func TestAnEndpointThatIsGoneIsDisabledAndItsOwnerTold(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ delivery) { w.WriteHeader(http.StatusGone) })
	h := w.hook(as, bot, r.URL, nil)
	c := im.Group(im.NewID())
	w.appended(said(c, ann, "1", ann, bot))
	r.next()
	got := w.see(as, h.Webhook.ID, "disabled", func(h im.Webhook) bool { return !h.Enabled })
	if got.Reason != im.WebhookGone || got.Waiting != 0 {
		t.Errorf("%+v", got)
	}
	w.appended(said(c, ann, "2", ann, bot))
	for range 2 { // the second time there is nothing to tell
		w.retry(time.Hour)
	}
	var notices []string
	rows, err := w.sql.Query(t.Context(), `SELECT notice FROM outbox`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		notices = append(notices, n)
	}
	var n im.Notice
	if len(notices) != 1 {
		t.Fatalf("notices %v", notices)
	}
	if err := json.Unmarshal([]byte(notices[0]), &n); err != nil {
		t.Fatal(err)
	}
	if n.Type != im.WebhookDisabled || n.Conversation != im.Direct(ann, bot) || n.From != bot || n.Quiet || !strings.Contains(string(n.Data), h.Webhook.ID) || !strings.Contains(string(n.Data), `"gone"`) {
		t.Errorf("told %s", notices[0])
	}
	r.none()

	r.answer = nil
	w.call("webhook-update", as, fields{"webhook": h.Webhook.ID, "enabled": true}, nil)
	w.appended(said(c, ann, "3", ann, bot))
	if d := r.next(); d.message().Text != "3" {
		t.Errorf("told %s", d.body)
	}
}

func TestEndpointsThatBreakInOtherWays(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	followed := newReceiver(t, nil)
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, delivery)
		says   string
	}{
		"it redirects": {func(w http.ResponseWriter, r *http.Request, _ delivery) {
			http.Redirect(w, r, followed.URL, http.StatusPermanentRedirect)
		}, "it answered 308: redirects are not followed"},
		"it dies mid-way": {func(w http.ResponseWriter, _ *http.Request, _ delivery) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
				conn.Close()
			}
		}, "it could not be reached"},
		"it is no HTTP": {func(w http.ResponseWriter, _ *http.Request, _ delivery) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(conn, "SSH-2.0-x\r\n")
				conn.Close()
			}
		}, "it could not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			bot := w.bot(ann, "bot-"+im.NewID())
			r := newReceiver(t, tt.answer)
			h := w.hook(as, bot, r.URL, nil)
			w.appended(said(im.Group(im.NewID()), ann, "1", ann, bot))
			got := w.see(as, h.Webhook.ID, "failing", func(h im.Webhook) bool { return h.Failing != 0 })
			if got.Failure != tt.says || got.Waiting != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
	followed.none()
}

func TestP6NothingPrivateIsReachedByAWebhook(t *testing.T) {
	w := newWorld(t, map[string]string{"WEBHOOK_PRIVATE": "false"})
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	secret := newReceiver(t, nil)
	for _, url := range []string{secret.URL, "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://10.0.0.1/", "https://localhost/"} {
		if status, answer := w.post("webhook-create", as, fields{"bot": bot, "url": url, "events": []string{"message"}}); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", url, status, answer)
		}
	}
	h := w.hook(as, bot, "https://example.org/", nil)
	if status, _ := w.post("webhook-update", as, fields{"webhook": h.Webhook.ID, "url": secret.URL}); status != http.StatusBadRequest {
		t.Errorf("changed to what is private: %d", status)
	}
	// One that was public when it was made, and is not any more.
	if _, err := w.sql.Exec(t.Context(), `UPDATE webhooks SET url = $1`, secret.URL); err != nil {
		t.Fatal(err)
	}
	w.appended(said(im.Group(im.NewID()), ann, "1", ann, bot))
	w.see(as, h.Webhook.ID, "failing", func(h im.Webhook) bool { return h.Failing != 0 })
	secret.none()
}

func TestASecretIsShownOnceAndReplacedOverADay(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	_, bo := w.person("bob")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, nil)
	in := fields{"bot": bot, "url": r.URL, "events": []string{"message"}}
	status, answer := w.post("webhook-create", as, in, fn.IdempotencyKey, "key")
	var h withSecret
	if err := json.Unmarshal([]byte(answer), &h); err != nil || status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := w.post("webhook-create", as, in, fn.IdempotencyKey, "key"); status != http.StatusConflict || strings.Contains(answer, "whsec_") {
		t.Errorf("the same call again answers %d %s", status, answer)
	}
	var list webhooks
	w.call("webhook-list", as, fields{}, &list)
	if b, _ := json.Marshal(list); len(list.Webhooks) != 1 || strings.Contains(string(b), "whsec_") {
		t.Errorf("listed %s", b)
	}
	var stored string
	if err := w.sql.QueryRow(t.Context(), `SELECT secret FROM webhooks`).Scan(&stored); err != nil || strings.Contains(stored, h.Secret[6:]) {
		t.Errorf("the secret is stored as it is: %v", err)
	}
	if status, _ := w.post("webhook-update", bo, fields{"webhook": h.Webhook.ID, "rotate_secret": true}); status != http.StatusNotFound {
		t.Errorf("another rotates it: %d", status)
	}
	var next withSecret
	w.call("webhook-update", as, fields{"webhook": h.Webhook.ID, "rotate_secret": true}, &next)
	if next.Secret == h.Secret || next.Secret == "" {
		t.Error("the secret is the same")
	}
	c := im.Group(im.NewID())
	w.appended(said(c, ann, "1", ann, bot))
	d := r.next()
	for _, s := range []string{h.Secret, next.Secret} {
		if err := verify(t, s, d); err != nil {
			t.Error(err)
		}
	}
	w.see(as, h.Webhook.ID, "empty", settled)
	if _, err := w.sql.Exec(t.Context(), `UPDATE webhooks SET old_until = old_until - interval '1 day'`); err != nil {
		t.Fatal(err)
	}
	w.appended(said(c, ann, "2", ann, bot))
	d = r.next()
	if verify(t, h.Secret, d) == nil || verify(t, next.Secret, d) != nil {
		t.Error("after a day the old secret is signed with")
	}
}

func TestRecalledMessagesThatWaitAreNotDelivered(t *testing.T) {
	w := newWorld(t, nil)
	ann, as := w.person("ann")
	bot := w.bot(ann, "echo")
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ delivery) { w.WriteHeader(500) })
	h := w.hook(as, bot, r.URL, nil)
	c := im.Group(im.NewID())
	m := said(c, ann, "oh", ann, bot)
	w.appended(m)
	w.see(as, h.Webhook.ID, "failing", func(h im.Webhook) bool { return h.Failing != 0 })
	n := said(c, ann, "", ann, bot)
	n.m.Kind, n.m.Data = im.KindNotice, json.RawMessage(`{"type":"message.recalled","message":"`+m.m.ID+`"}`)
	w.appended(n)
	w.see(as, h.Webhook.ID, "empty", settled)
}

func TestWebhooksAreRefused(t *testing.T) {
	w := newWorld(t, map[string]string{"MAX_WEBHOOKS_PER_BOT": "1"})
	ann, as := w.person("ann")
	_, bo := w.person("bob")
	bot := w.bot(ann, "echo")
	good := fields{"bot": bot, "url": "https://example.org/", "events": []string{"message"}}
	with := func(more fields) fields {
		in := maps.Clone(good)
		maps.Copy(in, more)
		return in
	}
	for _, tt := range []struct {
		name   string
		token  string
		in     fields
		status int
	}{
		{"without a bot", as, with(fields{"bot": ""}), 400},
		{"of another's bot", bo, good, 404},
		{"of a person", as, with(fields{"bot": ann}), 404},
		{"with no events", as, with(fields{"events": []string{}}), 400},
		{"with an event that there is not", as, with(fields{"events": []string{"everything"}}), 400},
		{"without a URL", as, with(fields{"url": ""}), 400},
		{"of what is no conversation", as, with(fields{"conversation": "x"}), 400},
		{"by nobody", "", good, 401},
		{"as it should be", as, good, 200},
		{"one too many", as, good, 403},
	} {
		if status, answer := w.post("webhook-create", tt.token, tt.in); status != tt.status {
			t.Errorf("%s: %d %s", tt.name, status, answer)
		}
	}
	scoped, _, err := w.issuer.Issue(im.Caller{User: bot, Session: im.NewID(), Device: "d", Platform: "bot", Scope: im.ScopeClaim(im.Scopes)})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := w.post("webhook-list", scoped, fields{}); status != http.StatusForbidden {
		t.Errorf("a bot sees webhooks: %d %s", status, answer)
	}
}
