package away

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/webhook"
)

// A message that comes while a notification is being sent is in the next.
func TestNothingIsMissedWhileANotificationIsSent(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", false)
	asked, goOn := make(chan bool), make(chan bool)
	var once sync.Once
	w.service.answers(func(http.ResponseWriter, *browser) bool {
		once.Do(func() { close(asked); <-goOn })
		return false
	})
	w.write(ann, bob, "one")
	<-asked
	w.write(ann, bob, "two")
	w.write(ann, bob, "three")
	close(goOn)
	if got := w.service.next(); got.Count != 1 {
		t.Errorf("first it is of %d", got.Count)
	}
	if got := w.service.next(); got.Count != 3 {
		t.Errorf("then it is of %d", got.Count)
	}
	w.eventually(0, `SELECT count(*) FROM notifications WHERE due IS NOT NULL`)
	w.service.nothing()
}

// Who dies with notifications in hand leaves them to others.
func TestWhatAKilledProcessHadInHandIsSent(t *testing.T) {
	w := newWorld(t, map[string]string{"NOTIFY_AFTER": "1h"})
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", false)
	w.write(ann, bob, "hello")
	w.exec(`UPDATE notifications SET due = now()`)
	taken, err := w.db.TakeNotifications(t.Context(), 10, time.Minute)
	if err != nil || len(taken) != 1 {
		t.Fatalf("taken %v, %v", taken, err)
	}
	w.retry()
	if w.service.tried() > 0 {
		t.Error("what another has in hand is sent")
	}
	w.exec(`UPDATE notifications SET due = now()`) // the lease has ended
	w.retry()
	w.service.next()
	// The dead one is alive after all, and says so too late.
	if err := w.db.PostponeNotifications(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT count(*) FROM notifications WHERE due IS NULL AND sent IS NOT NULL`); n != 1 {
		t.Error("who had lost the lease had a say")
	}
}

func TestEachIsSentOnceByMany(t *testing.T) {
	const devices = 250
	w := newWorld(t, map[string]string{"NOTIFY_AFTER": "1h", "PUSH_SUBSCRIPTIONS_PER_HOUR": "1000"})
	ann := w.user("Ann")
	var users []string
	for i := range devices {
		bob := w.user(fmt.Sprint("Bob ", i))
		b := newBrowser(t, w.service)
		c := w.device(bob, "phone")
		err := w.db.PutSubscription(t.Context(), im.PushSubscription{
			User: bob, Session: c.Session, Endpoint: b.endpoint, P256dh: b.key.PublicKey().Bytes(), Auth: b.auth,
		}, 9)
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, bob)
	}
	_, e := w.say(im.Message{Conversation: im.Group(im.NewID()), From: ann, Text: "all"}, users...)
	w.deliver(e, e)
	w.exec(`UPDATE notifications SET due = now()`)
	second := newWorldProcess(w)
	var all sync.WaitGroup
	for _, url := range []string{w.url, second, second} {
		all.Go(func() {
			for range 4 {
				resp, err := http.Post(url+"/notify-retry", "", nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			}
		})
	}
	all.Wait()
	got := make(map[*browser]int)
	for range devices {
		got[w.service.next().to]++
	}
	w.service.nothing()
	if len(got) != devices {
		t.Errorf("%d devices were notified", len(got))
	}
}

// newWorldProcess serves the functions once more, as another process does.
func newWorldProcess(w *world) (url string) {
	other := *w
	other.env = imtest.Env(w.t, w.vars)
	return other.mount(all...)
}

func TestAHostThatHangsHoldsUpNoOther(t *testing.T) {
	w := newWorld(t, map[string]string{"NOTIFY_AFTER": "1h", "NOTIFY_TIMEOUT": "300ms", "NOTIFY_PARALLEL": "2"})
	ann := w.user("Ann")
	ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	key := newBrowser(t, w.service)
	var users []string
	for i := range 40 {
		bob := w.user(fmt.Sprint("Bob ", i))
		users = append(users, bob)
		c := w.device(bob, "phone")
		err := w.db.PutSubscription(t.Context(), im.PushSubscription{
			User: bob, Session: c.Session, Endpoint: fmt.Sprintf("http://%s/%d", ln.Addr(), i), P256dh: key.key.PublicKey().Bytes(), Auth: key.auth,
		}, 9)
		if err != nil {
			t.Fatal(err)
		}
	}
	carol := w.user("Carol")
	w.subscribed(carol, "phone", false)
	_, e := w.say(im.Message{Conversation: im.Group(im.NewID()), From: ann, Text: "all"}, append(users, carol)...)
	w.deliver(e)
	w.exec(`UPDATE notifications SET due = now()`)
	begin := time.Now()
	w.retry()
	w.service.next()
	w.eventually(40, `SELECT count(*) FROM notifications WHERE due > $1 AND NOT taken`, begin.Add(4*time.Second))
	if n := w.count(`SELECT count(*) FROM notifications WHERE attempts > 0 AND due IS NOT NULL`); n > 6 {
		t.Errorf("%d were tried", n)
	}
}

// Without Redis nobody knows who is offline, so nobody is told that something
// is done.
func TestNobodyIsNotifiedOnAGuess(t *testing.T) {
	r := imtest.Start(t, "redis")
	w := newWorld(t, map[string]string{"REDIS_URL": r.URL, "REDIS_TIMEOUT": "2s", "NOTIFY_AFTER": "1h"})
	ann, bob := w.user("Ann"), w.user("Bob")
	w.subscribed(bob, "phone", false)
	w.write(ann, bob, "hello")
	w.exec(`UPDATE notifications SET due = now()`)
	r.Kill()
	_, e := w.say(im.Message{Conversation: im.Group(im.NewID()), From: ann, Text: "x"}, bob)
	if status := w.post("notify-away", e); status != http.StatusServiceUnavailable {
		t.Errorf("notify-away: %d", status)
	}
	if status := w.post("notify-retry"); status != http.StatusServiceUnavailable {
		t.Errorf("notify-retry: %d", status)
	}
	if w.service.tried() > 0 {
		t.Error("a device was notified")
	}
	w.eventually(1, `SELECT count(*) FROM notifications WHERE NOT taken AND attempts = 0 AND due < now() + interval '1 minute'`)
	r.Restart()
	w.deliver(e)
	w.exec(`UPDATE notifications SET due = now()`)
	w.retry()
	w.service.next()
	w.service.next()
}

// post posts an event, or nothing, to a function and returns the status.
func (w *world) post(function string, events ...event.Event) int {
	w.t.Helper()
	var body []byte
	for _, e := range events {
		body = event.AppendBatch(nil, []event.Event{e})
	}
	resp, err := http.Post(w.url+"/"+function, event.Batch, readerOf(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var all struct {
		Results []struct {
			Status int `json:"status"`
		} `json:"results"`
	}
	if json.Unmarshal(answer, &all) == nil && len(all.Results) > 0 {
		return all.Results[0].Status
	}
	return resp.StatusCode
}

func TestEndpointsAreWhereAnybodyMayGo(t *testing.T) {
	w := newWorld(t, map[string]string{"WEBHOOK_PRIVATE": "false"})
	ann, bob := w.user("Ann"), w.user("Bob")
	c := w.device(bob, "phone")
	b := newBrowser(t, w.service)
	for _, endpoint := range []string{
		b.endpoint, "https://127.0.0.1/x", "https://10.0.0.1/", "https://[::1]/", "https://localhost/", "https://169.254.169.254/latest/meta-data",
		"http://push.example.net/", "ftp://push.example.net/", "https://user:pw@push.example.net/", "", "push.example.net",
	} {
		in := b.request(false)
		in.Endpoint = endpoint
		if status := w.call(c, "push-subscribe", in, nil); status != http.StatusBadRequest {
			t.Errorf("%q: %d", endpoint, status)
		}
	}
	// One that was good when it was named, and leads inside now.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan bool, 1)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			conn.Close()
			dialled <- true
		}
	}()
	defer ln.Close()
	err = w.db.PutSubscription(t.Context(), im.PushSubscription{
		User: bob, Session: c.Session, Endpoint: "https://" + ln.Addr().String() + "/x", P256dh: b.key.PublicKey().Bytes(), Auth: b.auth,
	}, 9)
	if err != nil {
		t.Fatal(err)
	}
	w.write(ann, bob, "hello")
	w.eventually(1, `SELECT count(*) FROM push_subscriptions WHERE failures > 0`)
	w.eventually(0, `SELECT count(*) FROM notifications`)
	if len(dialled) > 0 {
		t.Error("it was dialled")
	}
}

// Somebody who has stolen an access token does not go on reading by a
// subscription; a browser that says again what it has said is not asked.
func TestP6WhatMessagesSayIsShownToWhoHasProvedWhoTheyAre(t *testing.T) {
	w := newWorld(t, nil)
	c := w.device(w.user("Bob"), "phone")
	quiet, shown := newBrowser(t, w.service), newBrowser(t, w.service)
	stale := c
	stale.Proved = im.TimeOf(time.Now().Add(-time.Hour))
	for _, step := range []struct {
		name string
		by   im.Caller
		in   subscribeRequest
		want int
	}{
		{"without text", stale, quiet.request(false), http.StatusOK},
		{"with text", stale, quiet.request(true), http.StatusUnauthorized},
		{"by who has just signed in", c, shown.request(true), http.StatusOK},
		{"again", stale, shown.request(true), http.StatusOK},
		{"to another browser", stale, quiet.request(true), http.StatusUnauthorized},
		{"without text any more", stale, shown.request(false), http.StatusOK},
		{"and with it again", stale, shown.request(true), http.StatusUnauthorized},
	} {
		if got := w.call(step.by, "push-subscribe", step.in, nil); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
}

func TestSubscriptionsThatMakeNoSenseAreRefused(t *testing.T) {
	w := newWorld(t, map[string]string{"PUSH_SUBSCRIPTIONS_PER_HOUR": "3", "MAX_PUSH_SUBSCRIPTIONS_PER_USER": "2"})
	bob := w.user("Bob")
	c := w.device(bob, "phone")
	good := newBrowser(t, w.service).request(false)
	for name, change := range map[string]func(*subscribeRequest){
		"a key that is no point": func(in *subscribeRequest) { in.P256dh = "B" + good.P256dh[1:len(good.P256dh)-4] + "AAAA" },
		"a key that is short":    func(in *subscribeRequest) { in.P256dh = in.P256dh[:40] },
		"a key that is no text":  func(in *subscribeRequest) { in.P256dh = "!" },
		"no key":                 func(in *subscribeRequest) { in.P256dh = "" },
		"no secret":              func(in *subscribeRequest) { in.Auth = "" },
		"a secret that is long":  func(in *subscribeRequest) { in.Auth += "AAAA" },
	} {
		in := good
		change(&in)
		if status := w.call(c, "push-subscribe", in, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	for range 3 { // again and again, and as others write base64
		good.Auth += "=="
		if status := w.call(c, "push-subscribe", good, nil); status != http.StatusOK {
			t.Errorf("a good one: %d", status)
		}
	}
	if status := w.call(c, "push-subscribe", good, nil); status != http.StatusTooManyRequests {
		t.Errorf("too often: %d", status)
	}
	ended := w.device(w.user("Eve"), "phone")
	if err := w.db.EndSession(t.Context(), ended.User, ended.Session); err != nil {
		t.Fatal(err)
	}
	if status := w.call(ended, "push-subscribe", good, nil); status != http.StatusUnauthorized {
		t.Errorf("by a session that has ended: %d", status)
	}
}

func TestWithoutKeysThereIsNoWebPush(t *testing.T) {
	w := newWorld(t, map[string]string{"VAPID_PRIVATE_KEY": "", "VAPID_PUBLIC_KEY": ""})
	ann, bob := w.user("Ann"), w.user("Bob")
	c := w.device(bob, "phone")
	if status := w.call(c, "push-key", nothing{}, nil); status != http.StatusNotFound {
		t.Errorf("push-key: %d", status)
	}
	if status := w.call(c, "push-subscribe", newBrowser(t, w.service).request(false), nil); status != http.StatusNotFound {
		t.Errorf("push-subscribe: %d", status)
	}
	w.write(ann, bob, "hello")
	w.retry()
	if n := w.count(`SELECT count(*) FROM notifications`); n != 0 {
		t.Errorf("%d notifications", n)
	}
}

// A bridge takes what the webhook says.
type bridge struct {
	t      testing.TB
	verify *standardwebhooks.Webhook
	took   chan []hooked

	mu     sync.Mutex
	status int
	ids    []string
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	if err := b.verify.Verify(body, r.Header); err != nil {
		b.t.Errorf("the signature: %v", err)
	}
	var in struct {
		Type string
		Data struct{ Notifications []hooked }
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Type != "devices.away" {
		b.t.Errorf("%s: %v", body, err)
	}
	b.mu.Lock()
	status := b.status
	b.ids = append(b.ids, r.Header.Get(webhook.HeaderID))
	b.mu.Unlock()
	w.WriteHeader(status)
	b.took <- in.Data.Notifications
}

func (b *bridge) next() []hooked {
	b.t.Helper()
	select {
	case got := <-b.took:
		return got
	case <-time.After(imtest.Patience(b.t)):
		b.t.Fatal("nothing came to the bridge")
		return nil
	}
}

func TestABridgeIsToldOfTheOtherDevices(t *testing.T) {
	secret := webhook.NewSecret()
	verify, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	b := &bridge{t: t, verify: verify, took: make(chan []hooked, 100), status: 500}
	srv := httptest.NewServer(b)
	defer srv.Close()
	// The operator's URL may be inside, whatever users may name.
	w := newWorld(t, map[string]string{"NOTIFY_WEBHOOK_URL": srv.URL + "/away", "NOTIFY_WEBHOOK_SECRET": secret, "NOTIFY_AFTER": "1h"})
	ann, bob := w.user("Ann"), w.user("Bob")
	ios, android, desk := w.device(bob, "phone"), w.device(bob, "old-phone"), w.device(bob, "desk")
	_, web := w.subscribed(bob, "laptop", true)
	w.connect(desk)
	m := w.write(ann, bob, "a secret")
	send := func() {
		t.Helper()
		w.exec(`UPDATE notifications SET due = now() WHERE due IS NOT NULL`)
		w.retry()
	}
	send()
	first := b.next()
	if got := w.service.next(); got.to != web {
		t.Error("the browser is not told")
	}
	slices.SortFunc(first, func(x, y hooked) int { return len(x.Device) - len(y.Device) })
	if len(first) != 2 || first[0].Session != ios.Session || first[1].Session != android.Session {
		t.Fatalf("the bridge is told of %+v", first)
	}
	want := hooked{
		ID: ios.Session + "-" + m.ID, User: bob, Session: ios.Session, Device: "phone", Platform: "web",
		Conversation: m.Conversation, Count: 1, Since: m.Time, Expires: first[0].Expires,
	}
	if first[0] != want {
		t.Errorf("of %+v, want %+v", first[0], want)
	}
	w.eventually(2, `SELECT count(*) FROM notifications WHERE attempts = 1 AND NOT taken AND due BETWEEN $1 AND now() + interval '31 seconds'`, begun.Add(14*time.Second))

	b.mu.Lock()
	b.status = http.StatusNoContent
	b.mu.Unlock()
	send()
	again := b.next()
	slices.SortFunc(again, func(x, y hooked) int { return len(x.Device) - len(y.Device) })
	if len(again) != 2 || again[0].ID != first[0].ID || again[1].ID != first[1].ID {
		t.Errorf("then of %+v", again)
	}
	w.eventually(0, `SELECT count(*) FROM notifications WHERE due IS NOT NULL`)
	w.service.nothing()
	if err := w.db.EndSession(t.Context(), bob, android.Session); err != nil {
		t.Fatal(err)
	}
	w.write(ann, bob, "more")
	send()
	if got := b.next(); len(got) != 1 || got[0].Session != ios.Session || got[0].Count != 2 || got[0].ID == first[0].ID {
		t.Errorf("of the next message: %+v", got)
	}
}

// A group of 2,000, most of them away: noted in a moment, and a second time at
// next to no cost.
func TestALargeGroupIsNotedAtOnce(t *testing.T) {
	w := newWorld(t, map[string]string{"NOTIFY_AFTER": "1h"})
	ann := w.user("Ann")
	users := make([]string, 2000)
	for i := range users {
		users[i] = im.NewID()
	}
	w.exec(`INSERT INTO users (id, account, name, password) SELECT id, id, 'x', 'x' FROM unnest($1::text[]) id`, users)
	w.exec(`INSERT INTO sessions (id, user_id, device, platform, created) SELECT id, id, 'd', 'web', now() FROM unnest($1::text[]) id`, users)
	w.exec(`INSERT INTO push_subscriptions (session_id, user_id, endpoint, p256dh, auth, show_text)
		SELECT id, user_id, 'http://127.0.0.1:1/' || id, '', '', false FROM sessions`)
	w.exec(`ANALYZE`)
	m := im.Message{ID: im.NewMessageID(im.Now()), Conversation: im.Group(im.NewID()), From: ann, Kind: im.KindText, Text: "all"}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for part := range 4 {
		a := event.Appended{Message: b}
		for i := range 500 {
			a.Entries = append(a.Entries, event.Recipient{User: users[part*500+i], Seq: 1})
		}
		e, err := event.New(event.InboxAppended, "test", string(m.Conversation), a)
		if err != nil {
			t.Fatal(err)
		}
		w.seal.Sign(&e)
		events = append(events, e)
	}
	begin := time.Now()
	w.deliver(events...)
	noted := time.Since(begin)
	if n := w.count(`SELECT count(*) FROM notifications WHERE due IS NOT NULL`); n != 2000 {
		t.Errorf("%d are noted", n)
	}
	version := w.count(`SELECT sum(xmin::text::bigint) FROM notifications`)
	begin = time.Now()
	for range 10 {
		w.deliver(events...)
	}
	t.Logf("noting 2,000: %s; again: %s", noted, time.Since(begin)/10)
	if got := w.count(`SELECT sum(xmin::text::bigint) FROM notifications`); got != version {
		t.Error("what was due already was written again")
	}
	if noted > 3*time.Second {
		t.Errorf("it took %s", noted)
	}
}
