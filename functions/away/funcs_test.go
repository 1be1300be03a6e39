package away

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/token"
	"github.com/tidings-im/tidings/shared/webpush"
)

// down are settings of services that are not there.
func down(t testing.TB) map[string]string {
	t.Helper()
	vapid, err := webpush.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	vapidPublic, err := webpush.PublicKey(vapid)
	if err != nil {
		t.Fatal(err)
	}
	return fntest.Settings(t, map[string]string{
		"INBOX_STORE":       "postgres",
		"VAPID_PRIVATE_KEY": vapid,
		"VAPID_PUBLIC_KEY":  vapidPublic,
		"VAPID_CONTACT":     "mailto:ops@tidings.example",
	})
}

var all = []fn.Func{Key, Subscribe, Unsubscribe, Notify, Retry}

func TestFunctionsStartWithoutTheirServices(t *testing.T) {
	for name, without := range map[string][]string{
		"all there":         nil,
		"without Web Push":  {"VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY"},
		"without a contact": {"VAPID_CONTACT"},
	} {
		vars := down(t)
		for _, v := range without {
			delete(vars, v)
		}
		if _, err := fn.Mount(t.Context(), imtest.Env(t, vars), all...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettingsThatCannotWorkAreNamed(t *testing.T) {
	other, err := webpush.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		set   map[string]string
		names string
	}{
		"a private key that is none":                {map[string]string{"VAPID_PRIVATE_KEY": "abc"}, "VAPID_PRIVATE_KEY"},
		"keys that are no pair":                     {map[string]string{"VAPID_PRIVATE_KEY": other}, "VAPID_PUBLIC_KEY"},
		"a public key that is none":                 {map[string]string{"VAPID_PUBLIC_KEY": "abc"}, "VAPID_PUBLIC_KEY"},
		"a contact that is no URI":                  {map[string]string{"VAPID_CONTACT": "me"}, "VAPID_CONTACT"},
		"a webhook that is no URL":                  {map[string]string{"NOTIFY_WEBHOOK_URL": "bridge"}, "NOTIFY_WEBHOOK_URL"},
		"a webhook without a secret":                {map[string]string{"NOTIFY_WEBHOOK_URL": "http://bridge:8080/"}, "NOTIFY_WEBHOOK_SECRET"},
		"a webhook with a secret that is no base64": {map[string]string{"NOTIFY_WEBHOOK_URL": "http://bridge/", "NOTIFY_WEBHOOK_SECRET": "whsec_!"}, "NOTIFY_WEBHOOK_SECRET"},
	} {
		vars := down(t)
		maps.Copy(vars, tt.set)
		_, err := fn.Mount(t.Context(), imtest.Env(t, vars), Notify)
		if err == nil || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A world is the functions on real services, with a push service.
type world struct {
	t        testing.TB
	vars     map[string]string
	env      *proc.Env
	url      string
	db       *pgtest.DB
	sql      *pgxpool.Pool
	inbox    inbox.Store
	presence *redis.Presence
	service  *pushService
	seal     *event.Keyring
	tokens   *token.Issuer
	heads    map[string]int64
	last     im.Time
}

func newWorld(t testing.TB, more map[string]string) *world {
	t.Helper()
	vars := down(t)
	vars["POSTGRES_URL"], vars["REDIS_URL"] = imtest.Migrated(t, postgres.Migrate), imtest.Redis(t)
	vars["WEBHOOK_PRIVATE"], vars["NOTIFY_AFTER"], vars["NOTIFY_EVERY"] = "true", "50ms", "100ms"
	vars["ONE_CONNECTION_PER_PLATFORM"] = "false"
	vars["CALLS_BURST"] = "1000"
	maps.Copy(vars, more)
	w := &world{t: t, vars: vars, env: imtest.Env(t, vars), heads: make(map[string]int64)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.service = newPushService(t, vars["VAPID_PUBLIC_KEY"])
	w.url = w.mount(all...)
	var errs [6]error
	w.db, errs[0] = pgtest.Open(t.Context(), w.env)
	w.sql, errs[1] = pgxpool.New(t.Context(), vars["POSTGRES_URL"])
	w.inbox, errs[2] = inbox.Open(t.Context(), w.env)
	w.seal, errs[3] = fn.Keyring(w.env)
	w.tokens, errs[4] = token.OpenIssuer(w.env)
	cache, err := redis.Open(t.Context(), w.env)
	must(errors.Join(append(errs[:], err)...))
	w.presence, err = cache.NewPresence(w.env, time.Minute)
	must(err)
	t.Cleanup(w.sql.Close)
	return w
}

// mount serves functions in a process of their own.
func (w *world) mount(funcs ...fn.Func) (url string) {
	w.t.Helper()
	h, err := fn.Mount(w.t.Context(), w.env, funcs...)
	if err != nil {
		w.t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	w.t.Cleanup(srv.Close)
	return srv.URL
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.sql.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.sql.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// eventually waits until a query counts n.
func (w *world) eventually(n int, sql string, args ...any) {
	w.t.Helper()
	imtest.Eventually(w.t, sql, func() error {
		if got := w.count(sql, args...); got != n {
			return fmt.Errorf("%d, want %d", got, n)
		}
		return nil
	})
}

func (w *world) user(name string) string {
	w.t.Helper()
	u := im.User{ID: im.NewID(), Name: name}
	u.Account = "a" + u.ID
	if err := w.db.CreateUser(w.t.Context(), u, "hash"); err != nil {
		w.t.Fatal(err)
	}
	return u.ID
}

// device signs a user in.
func (w *world) device(user, device string) im.Caller {
	w.t.Helper()
	s := im.Session{ID: im.NewID(), User: user, Device: device, Platform: "web", Created: im.Now()}
	if _, err := w.db.CreateSession(w.t.Context(), s, "hash", []byte(s.ID), time.Now().Add(time.Hour), 100); err != nil {
		w.t.Fatal(err)
	}
	return im.Caller{User: user, Session: s.ID, Device: device, Platform: "web", Proved: im.Now()}
}

// connect has a device come online.
func (w *world) connect(c im.Caller) {
	w.t.Helper()
	_, _, err := w.presence.Connect(w.t.Context(), im.Conn{ID: im.NewID(), User: c.User, Gateway: "gw", Device: c.Device, Platform: c.Platform, Session: c.Session})
	if err != nil {
		w.t.Fatal(err)
	}
}

// call calls a function as c and returns the status.
func (w *world) call(c im.Caller, function string, in, out any) int {
	w.t.Helper()
	jwt, _, err := w.tokens.Issue(c)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := fntest.Post(w.t.Context(), w.url+"/"+function, jwt, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Body, out); err != nil {
			w.t.Fatalf("%s: %s: %v", function, answer.Body, err)
		}
	}
	return answer.Status
}

// subscribed is a device of a user that has subscribed, and its browser.
func (w *world) subscribed(user, device string, showText bool) (im.Caller, *browser) {
	w.t.Helper()
	c, b := w.device(user, device), newBrowser(w.t, w.service)
	if status := w.call(c, "push-subscribe", b.request(showText), nil); status != http.StatusOK {
		w.t.Fatalf("subscribing: %d", status)
	}
	return c, b
}

// say puts a message into inboxes, and returns it with the event of it.
func (w *world) say(m im.Message, to ...string) (im.Message, event.Event) {
	w.t.Helper()
	w.last = max(im.Now(), w.last+1)
	if m.Time == 0 {
		m.Time = w.last
	}
	m.ID = im.NewMessageID(m.Time)
	if m.Kind == "" {
		m.Kind = im.KindText
	}
	if m.ClientID == "" {
		m.ClientID = m.ID
	}
	b, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	appended := event.Appended{Message: b}
	var entries []im.Entry
	for _, u := range to {
		w.heads[u]++
		entries = append(entries, im.Entry{
			User: u, Seq: w.heads[u], ID: m.ID, Message: b, Conversation: m.Conversation,
			Class: im.ClassOf(m.Kind, m.From, u, m.Recalled, false),
		})
		appended.Entries = append(appended.Entries, event.Recipient{User: u, Seq: w.heads[u]})
	}
	if _, err := w.inbox.Insert(w.t.Context(), entries); err != nil {
		w.t.Fatal(err)
	}
	e, err := event.New(event.InboxAppended, "test", string(m.Conversation), appended)
	if err != nil {
		w.t.Fatal(err)
	}
	e.ID = m.ID
	w.seal.Sign(&e)
	return m, e
}

// deliver hands events to notify-away.
func (w *world) deliver(events ...event.Event) {
	w.t.Helper()
	results, err := fn.Post(w.t.Context(), fn.NewHTTPClient(20*time.Second), w.url+"/notify-away", events)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range results {
		if err := r.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// write has a text come to a user from another in their direct conversation.
func (w *world) write(from, to, text string) im.Message {
	w.t.Helper()
	m, e := w.say(im.Message{Conversation: im.Direct(from, to), From: from, Text: text}, from, to)
	w.deliver(e)
	return m
}

// retry calls notify-retry.
func (w *world) retry() {
	w.t.Helper()
	resp, err := http.Post(w.url+"/notify-retry", "application/json", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		w.t.Fatalf("notify-retry answers %s", resp.Status)
	}
}

func TestADeviceThatIsOfflineIsNotified(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	var k keyAnswer
	c, b := w.subscribed(bob, "phone", false)
	if status := w.call(c, "push-key", nothing{}, &k); status != http.StatusOK || k.Key != w.vars["VAPID_PUBLIC_KEY"] {
		t.Errorf("push-key: %d, %q", status, k.Key)
	}
	w.write(ann, bob, "a secret")
	got := w.service.next()
	if want := (payload{Type: "message", Conversation: im.Direct(ann, bob), Count: 1}); got.payload != want || got.to != b {
		t.Errorf("pushed %+v", got.payload)
	}
	if got.ttl < 86000 || got.ttl > 86400 {
		t.Errorf("TTL %d", got.ttl)
	}
	if strings.Contains(got.raw, "secret") || strings.Contains(got.raw, "Ann") {
		t.Errorf("it says too much: %s", got.raw)
	}

	if status := w.call(c, "push-unsubscribe", nothing{}, nil); status != http.StatusOK {
		t.Errorf("unsubscribing: %d", status)
	}
	w.write(ann, bob, "again")
	_, other := w.subscribed(bob, "tablet", false)
	w.write(ann, bob, "again")
	if got := w.service.next(); got.to != other {
		t.Error("a device that has unsubscribed is notified")
	}
	w.service.nothing()
}

func TestWhatIsShownOfAMessage(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", true)
	m := w.write(ann, bob, "<hello> & 你好")
	got := w.service.next()
	want := payload{
		Type: "message", Conversation: im.Direct(ann, bob), Count: 1,
		Message: m.ID, From: ann, Name: "Ann", Kind: im.KindText, Text: "<hello> & 你好",
	}
	if got.payload != want {
		t.Errorf("pushed %+v, want %+v", got.payload, want)
	}
	w.eventually(0, `SELECT count(*) FROM notifications WHERE due IS NOT NULL`)
	w.write(ann, bob, strings.Repeat("\x01漢", 5000))
	if got := w.service.next(); got.Text != strings.Repeat("\x01漢", maxShown/2)+"…" || got.Count != 2 {
		t.Errorf("of a long text: %d bytes, %+v", len(got.Text), got.Count)
	}

	group := im.NewID()
	w.exec(`INSERT INTO groups (id, name, owner_id, created) VALUES ($1, 'Climbers', $2, now())`, group, ann)
	_, e := w.say(im.Message{Conversation: im.Group(group), From: ann, Text: "up"}, ann, bob)
	w.deliver(e)
	if got := w.service.next(); got.Group != "Climbers" || got.Text != "up" || got.Name != "Ann" {
		t.Errorf("of a group: %+v", got.payload)
	}
}

// One device at hand does not silence another.
func TestDevicesAreNotifiedEachForItself(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	desk, _ := w.subscribed(bob, "desk", false)
	_, phone := w.subscribed(bob, "phone", false)
	mine, _ := w.subscribed(ann, "phone", false)
	w.connect(desk)
	_ = mine // her own message does not come to her
	w.write(ann, bob, "hello")
	if got := w.service.next(); got.to != phone {
		t.Error("the device that is online was notified")
	}
	w.eventually(0, `SELECT count(*) FROM notifications WHERE due IS NOT NULL`)
	w.service.nothing()
}

func TestABurstIsOneNotification(t *testing.T) {
	w := newWorld(t, map[string]string{"NOTIFY_AFTER": "700ms", "NOTIFY_EVERY": "1h"})
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", false)
	var events []event.Event
	for i := range 99 {
		_, e := w.say(im.Message{Conversation: im.Direct(ann, bob), From: ann, Text: fmt.Sprint(i)}, ann, bob)
		events = append(events, e)
	}
	for len(events) > 0 { // in several batches
		w.deliver(events[:33]...)
		events = events[33:]
	}
	first := w.service.next()
	if first.Count != 99 {
		t.Errorf("it is of %d", first.Count)
	}
	w.eventually(0, `SELECT count(*) FROM notifications WHERE due IS NOT NULL`)
	// What follows waits until a while after it, and takes its place.
	w.write(ann, bob, "one more")
	w.retry()
	if n := w.count(`SELECT count(*) FROM notifications WHERE due > now() + interval '59 minutes'`); n != 1 {
		t.Errorf("%d notifications wait", n)
	}
	w.service.nothing()
	w.exec(`UPDATE notifications SET due = now()`)
	w.retry()
	if got := w.service.next(); got.Count != 100 || got.topic != first.topic {
		t.Errorf("then it is of %d, topic %q after %q", got.Count, got.topic, first.topic)
	}
	cat, e := w.say(im.Message{Conversation: im.Group(im.NewID()), From: ann, Text: "x"}, ann, bob)
	w.deliver(e)
	if got := w.service.next(); got.Conversation != cat.Conversation || got.topic == first.topic || got.Count != 1 {
		t.Errorf("of another conversation: %+v", got.payload)
	}
}

func TestWhatNobodyIsNotifiedOf(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob, eve := w.user("Ann"), w.user("Bob"), w.user("Eve")
	w.subscribed(bob, "phone", false)
	group, muted := im.Group(im.NewID()), im.Group(im.NewID())
	w.exec(`INSERT INTO conversation_states (user_id, conversation, muted) VALUES ($1, $2, true)`, bob, muted)
	w.exec(`INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2)`, bob, eve)
	old := im.TimeOf(time.Now().Add(-25 * time.Hour))
	for name, m := range map[string]im.Message{
		"a notice":                 {Conversation: group, From: ann, Kind: im.KindNotice, Data: []byte(`{"type":"message.reacted"}`)},
		"a message of their own":   {Conversation: group, From: bob, Text: "mine"},
		"a recalled one":           {Conversation: group, From: ann, Recalled: true},
		"a deleted one":            {Conversation: group, From: ann, Kind: im.KindDeleted},
		"one that is old":          {Conversation: group, From: ann, Text: "long ago", Time: old},
		"a muted conversation":     {Conversation: muted, From: ann, Text: "noise"},
		"whom they have blocked":   {Conversation: group, From: eve, Text: "psst"},
		"the same, another device": {Conversation: group, From: bob, Text: "mine"},
	} {
		_, e := w.say(m, bob)
		w.deliver(e)
		if n := w.count(`SELECT count(*) FROM notifications`); n != 0 {
			t.Errorf("%s is noted", name)
			w.exec(`DELETE FROM notifications`)
		}
	}
	w.write(ann, bob, "this")
	if got := w.service.next(); got.Conversation != im.Direct(ann, bob) {
		t.Errorf("pushed %+v", got.payload)
	}
	w.service.nothing()
}

// What has changed until a notification is due.
func TestWhatIsNotSentAnyMore(t *testing.T) {
	for name, change := range map[string]func(w *world, c im.Caller, m im.Message){
		"the device is back": func(w *world, c im.Caller, _ im.Message) { w.connect(c) },
		"it was read": func(w *world, c im.Caller, m im.Message) {
			w.exec(`INSERT INTO conversation_states (user_id, conversation, read_id) VALUES ($1, $2, $3)`, c.User, m.Conversation, m.ID)
		},
		"the conversation was muted": func(w *world, c im.Caller, m im.Message) {
			w.exec(`INSERT INTO conversation_states (user_id, conversation, muted) VALUES ($1, $2, true)`, c.User, m.Conversation)
		},
		"it was recalled": func(w *world, c im.Caller, m im.Message) {
			m.Recalled, m.Text, m.Revision = true, "", 1
			b, err := json.Marshal(m)
			if err != nil {
				w.t.Fatal(err)
			}
			err = w.inbox.Amend(w.t.Context(), []im.Entry{{User: c.User, ID: m.ID, Message: b, Conversation: m.Conversation, Class: im.ClassShown, Revision: 1}})
			if err != nil {
				w.t.Fatal(err)
			}
		},
		"the session has ended": func(w *world, c im.Caller, _ im.Message) {
			if err := w.db.EndSession(w.t.Context(), c.User, c.Session); err != nil {
				w.t.Fatal(err)
			}
		},
		"the device has unsubscribed": func(w *world, c im.Caller, _ im.Message) { w.call(c, "push-unsubscribe", nothing{}, nil) },
		"it has waited for too long": func(w *world, _ im.Caller, _ im.Message) {
			w.exec(`UPDATE notifications SET expires = now() - interval '1 second'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"NOTIFY_AFTER": "1h"})
			ann, bob := w.user("Ann"), w.user("Bob")
			c, _ := w.subscribed(bob, "phone", true)
			m := w.write(ann, bob, "hello")
			change(w, c, m)
			w.exec(`UPDATE notifications SET due = now()`)
			w.retry()
			if n := w.count(`SELECT count(*) FROM notifications`); n != 0 {
				t.Errorf("%d notifications are left", n)
			}
			if n := w.service.tried(); n > 0 {
				t.Errorf("%d were sent", n)
			}
		})
	}
}

func TestAPushServiceIsTriedAgain(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	c, _ := w.subscribed(bob, "phone", false)
	for _, tt := range []struct {
		name     string
		status   int
		after    func() string // the header, when it is asked
		from, to time.Duration // in how long the next attempt is due, from before this one and from after it
	}{
		{"it is down", 503, func() string { return "" }, 14 * time.Second, 31 * time.Second},
		{"and says for how long", 503, func() string { return "3600" }, 3590 * time.Second, 3601 * time.Second},
		{"it is asked too often", 429, func() string { return time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat) }, 7100 * time.Second, 7201 * time.Second},
	} {
		w.service.answers(func(rw http.ResponseWriter, _ *browser) bool {
			if after := tt.after(); after != "" {
				rw.Header().Set("Retry-After", after)
			}
			rw.WriteHeader(tt.status)
			return true
		})
		w.write(ann, bob, "hello")
		w.exec(`UPDATE notifications SET due = now(), attempts = 0`)
		begun := time.Now()
		w.retry()
		w.eventually(1, `SELECT count(*) FROM notifications WHERE NOT taken AND attempts = 1 AND due BETWEEN $1 AND now() + $2::interval`, begun.Add(tt.from), tt.to)
		w.service.nothing()
	}
	if n := w.count(`SELECT failures FROM push_subscriptions WHERE failing IS NOT NULL`); n < 3 {
		t.Errorf("%d failures are noted", n)
	}
	w.service.answers(nil)
	w.exec(`UPDATE notifications SET due = now()`)
	w.retry()
	if got := w.service.next(); got.Count != 3 {
		t.Errorf("then it is of %d", got.Count)
	}
	if n := w.count(`SELECT count(*) FROM push_subscriptions WHERE failing IS NULL AND failures = 0 AND session_id = $1`, c.Session); n != 1 {
		t.Error("that it answers is not noted")
	}
}

func TestASubscriptionGoesThatIsGone(t *testing.T) {
	w := newWorld(t, nil)
	ann := w.user("Ann")
	for _, status := range []int{http.StatusGone, http.StatusNotFound} {
		bob := w.user("Bob")
		w.subscribed(bob, "phone", false)
		w.service.answers(func(rw http.ResponseWriter, _ *browser) bool { rw.WriteHeader(status); return true })
		w.write(ann, bob, "hello")
		w.eventually(0, `SELECT count(*) FROM push_subscriptions`)
		w.eventually(0, `SELECT count(*) FROM notifications`)
	}
}

func TestASubscriptionGoesThatFailsForDays(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", false)
	w.service.answers(func(rw http.ResponseWriter, _ *browser) bool { rw.WriteHeader(http.StatusForbidden); return true })
	fail := func() {
		w.write(ann, bob, "hello")
		tries := w.service.tried()
		w.eventually(0, `SELECT count(*) FROM notifications`)
		if w.service.tried() < tries {
			t.Error("it was not tried")
		}
	}
	fail()
	w.exec(`UPDATE push_subscriptions SET failures = $1`, maxFailures)
	fail()
	w.eventually(1, `SELECT count(*) FROM push_subscriptions`)
	w.exec(`UPDATE push_subscriptions SET failing = now() - interval '73 hours'`)
	fail()
	w.eventually(0, `SELECT count(*) FROM push_subscriptions`)
}

func readerOf(b []byte) io.Reader {
	if b == nil {
		return http.NoBody
	}
	return bytes.NewReader(b)
}

// What one device shows another need not.
func TestEachDeviceSaysForItselfWhatItShows(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	_, open := w.subscribed(bob, "phone", true)
	w.subscribed(bob, "desk", false)
	w.write(ann, bob, "a secret")
	for range 2 {
		if got := w.service.next(); (got.Text != "") != (got.to == open) || (got.Name != "") != (got.to == open) {
			t.Errorf("pushed %+v", got.payload)
		}
	}
}
