package bots_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func aHook(t testing.TB, db *pgtest.DB, owner, bot string, only im.Conversation) im.Webhook {
	t.Helper()
	w := im.Webhook{ID: im.NewID(), Bot: bot, URL: "https://example.org/", Events: im.WebhookEvents, Conversation: only, Enabled: true, Created: im.Now()}
	if err := db.CreateWebhook(t.Context(), owner, w, "sealed", 3); err != nil {
		t.Fatal(err)
	}
	return w
}

// told is a delivery of the message that is placed at a time.
func toldOf(hook string, c im.Conversation, at int64) im.WebhookDelivery {
	p := im.Place{Time: im.Time(at), ID: im.MessageID(im.Time(at), [8]byte{})}
	return im.WebhookDelivery{Webhook: hook, Conversation: c, Place: p, Message: json.RawMessage(fmt.Sprintf(`{"n":%d}`, at))}
}

func places(ds []im.WebhookDelivery) (at []im.Place) {
	for _, d := range ds {
		at = append(at, d.Place)
	}
	return at
}

func hook(t testing.TB, db *pgtest.DB, owner, id string) im.Webhook {
	t.Helper()
	all, err := db.Webhooks(t.Context(), owner, "")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(w im.Webhook) bool { return w.ID == id })
	if i < 0 {
		t.Fatalf("no webhook %s among %+v", id, all)
	}
	return all[i]
}

func TestWebhooksAreOfTheOwnersOfBots(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	b, _ := aBot(t, db, u[0], "echo")
	w := aHook(t, db, u[0], b.ID, "")
	only := aHook(t, db, u[0], b.ID, im.Direct(u[0], b.ID))
	aHook(t, db, u[0], b.ID, "")
	n := w
	n.ID = im.NewID()
	for _, elsewhere := range []im.Conversation{im.Group(im.NewID()), im.Direct(u[0], u[1])} {
		n.Conversation = elsewhere
		pgtest.Wants(t, db.CreateWebhook(ctx, u[0], n, "s", 9), im.Denied)
		_, err := db.UpdateWebhook(ctx, u[0], w.ID, im.WebhookChange{Conversation: &elsewhere})
		pgtest.Wants(t, err, im.Denied)
	}
	n.Conversation = ""
	pgtest.Wants(t, db.CreateWebhook(ctx, u[0], n, "s", 3), im.Denied)
	pgtest.Wants(t, db.CreateWebhook(ctx, u[1], n, "s", 9), im.NotFound)
	n.Bot = u[0]
	pgtest.Wants(t, db.CreateWebhook(ctx, u[0], n, "s", 9), im.NotFound)

	if got, err := db.Webhooks(ctx, u[0], b.ID); err != nil || len(got) != 3 || got[1].Conversation != only.Conversation || got[0].ID != w.ID || !got[0].Enabled {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := db.Webhooks(ctx, u[1], b.ID); err != nil || len(got) != 0 {
		t.Errorf("another has %+v, %v", got, err)
	}
	hooks, err := db.WebhooksOf(ctx, []string{b.ID, u[0]})
	if err != nil || len(hooks) != 3 || !slices.Contains(hooks, im.WebhookTarget{ID: only.ID, Bot: b.ID, Conversation: only.Conversation}) {
		t.Errorf("%+v, %v", hooks, err)
	}

	url, off, on, all := "https://example.com/", false, true, im.Conversation("")
	_, err = db.UpdateWebhook(ctx, u[1], w.ID, im.WebhookChange{URL: &url})
	pgtest.Wants(t, err, im.NotFound)
	if got, err := db.UpdateWebhook(ctx, u[0], only.ID, im.WebhookChange{URL: &url, Conversation: &all}); err != nil || got.URL != url || got.Conversation != "" || !got.Enabled {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := db.UpdateWebhook(ctx, u[0], w.ID, im.WebhookChange{Enabled: &off}); err != nil || got.Enabled || got.Reason != im.WebhookOff || got.URL != w.URL {
		t.Errorf("%+v, %v", got, err)
	}
	if hooks, err := db.WebhooksOf(ctx, []string{b.ID}); err != nil || len(hooks) != 2 {
		t.Errorf("%+v, %v", hooks, err)
	}
	if got, err := db.UpdateWebhook(ctx, u[0], w.ID, im.WebhookChange{Enabled: &on}); err != nil || !got.Enabled || got.Reason != "" {
		t.Errorf("%+v, %v", got, err)
	}
	pgtest.Wants(t, db.DeleteWebhook(ctx, u[1], w.ID), im.NotFound)
	pgtest.Wants(t, db.DeleteWebhook(ctx, u[0], w.ID), "")
	pgtest.Wants(t, db.DeleteWebhook(ctx, u[0], w.ID), im.NotFound)
}

func TestDeliveriesWaitOnceAndInOrder(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	w := aHook(t, db, u, b.ID, "")
	secret := "sealed anew"
	_, err := db.UpdateWebhook(ctx, u, w.ID, im.WebhookChange{Secret: &secret})
	pgtest.Wants(t, err, "")
	if _, ok, err := db.TakeWebhook(ctx, w.ID, time.Minute, 10); ok || err != nil {
		t.Errorf("there is something to take: %v, %v", ok, err)
	}

	ds := []im.WebhookDelivery{toldOf(w.ID, "g:x", 3000), toldOf(w.ID, "g:y", 2000), toldOf(w.ID, "g:x", 1000), toldOf(im.NewID(), "g:x", 1000)}
	for range 2 { // the second time they are there already
		ready, dropped, err := db.Enqueue(ctx, ds, 100, 1<<20)
		if err != nil || dropped != 0 || len(ready) != 1 || ready[w.ID] != w.URL {
			t.Errorf("%v, %d, %v", ready, dropped, err)
		}
	}
	run, ok, err := db.TakeWebhook(ctx, w.ID, time.Minute, 10)
	want := []im.WebhookDelivery{ds[2], ds[1], ds[0]}
	if err != nil || !ok || !slices.Equal(places(run.Deliveries), places(want)) || string(run.Deliveries[0].Message) != `{"n":1000}` {
		t.Fatalf("%+v, %v, %v", run, ok, err)
	}
	if run.URL != w.URL || run.Bot != b.ID || run.Secret != secret || run.OldSecret != "sealed" {
		t.Errorf("%+v", run)
	}
	if _, ok, err := db.TakeWebhook(ctx, w.ID, time.Minute, 10); ok || err != nil {
		t.Errorf("two have it: %v, %v", ok, err)
	}
	if due, err := db.DueWebhooks(ctx, 10); err != nil || len(due) != 0 {
		t.Errorf("due: %+v, %v", due, err)
	}

	// The first of x fails, y arrives, z comes meanwhile.
	if _, _, err := db.Enqueue(ctx, []im.WebhookDelivery{toldOf(w.ID, "g:z", 4000)}, 100, 1<<20); err != nil {
		t.Fatal(err)
	}
	more, err := db.SettleWebhook(ctx, im.WebhookOutcome{
		Webhook: w.ID, Run: run.Run, Done: []im.Place{ds[1].Place}, Retry: []im.WebhookRetry{{Place: ds[2].Place, After: time.Hour}}, DisableAfter: time.Hour, DisableBeyond: 10,
	})
	if err != nil || !more {
		t.Errorf("z is left: %v, %v", more, err)
	}
	run, ok, err = db.TakeWebhook(ctx, w.ID, time.Minute, 10)
	if err != nil || !ok || len(run.Deliveries) != 1 || run.Deliveries[0].Conversation != "g:z" {
		t.Fatalf("what follows a message that failed is delivered before it: %+v, %v", run, err)
	}
	more, err = db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: w.ID, Run: run.Run, Done: places(run.Deliveries), DisableAfter: time.Hour, DisableBeyond: 10})
	if err != nil || more {
		t.Errorf("what waits for an hour is due: %v, %v", more, err)
	}
	if got := hook(t, db, u, w.ID); got.Waiting != 2 || got.Failure != "" || got.Failing != 0 {
		t.Errorf("%+v", got)
	}
	if by, err := db.OverdueWebhook(ctx); err != nil || by != 0 {
		t.Errorf("before it is due it is overdue by %s, %v", by, err)
	}
	// An hour later.
	if _, err := db.Exec(ctx, `UPDATE webhooks SET due = due - interval '2 hours'; UPDATE webhook_deliveries SET due = due - interval '2 hours'`); err != nil {
		t.Fatal(err)
	}
	if by, err := db.OverdueWebhook(ctx); err != nil || by < 59*time.Minute || by > 61*time.Minute {
		t.Errorf("it is overdue by %s, %v", by, err)
	}
	run, ok, err = db.TakeWebhook(ctx, w.ID, time.Minute, 10)
	if by, err := db.OverdueWebhook(ctx); err != nil || by != 0 {
		t.Errorf("while somebody delivers to it it is overdue by %s, %v", by, err)
	}
	if err != nil || !ok || !slices.Equal(places(run.Deliveries), []im.Place{ds[2].Place, ds[0].Place}) || run.Deliveries[0].Attempts != 1 {
		t.Fatalf("%+v, %v", run, err)
	}
	if more, err := db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: w.ID, Run: run.Run, Done: places(run.Deliveries)}); err != nil || more {
		t.Errorf("%v, %v", more, err)
	}
	if got := hook(t, db, u, w.ID); got.Waiting != 0 {
		t.Errorf("%+v", got)
	}
	if due, err := db.DueWebhooks(ctx, 10); err != nil || len(due) != 0 {
		t.Errorf("due: %+v, %v", due, err)
	}
}

func TestOfTooManyDeliveriesTheOldestAreDroppedAndCounted(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	w := aHook(t, db, u, b.ID, "")
	var ds []im.WebhookDelivery
	for at := range int64(8) {
		ds = append(ds, toldOf(w.ID, "g:x", 1000+at))
	}
	if _, dropped, err := db.Enqueue(ctx, ds[:4], 5, 1<<20); err != nil || dropped != 0 {
		t.Errorf("%d, %v", dropped, err)
	}
	if _, dropped, err := db.Enqueue(ctx, ds[4:], 5, 1<<20); err != nil || dropped != 3 {
		t.Errorf("%d, %v", dropped, err)
	}
	if _, dropped, err := db.Enqueue(ctx, ds[7:], 5, 3*len(ds[7].Message)); err != nil || dropped != 2 {
		t.Errorf("by bytes: %d, %v", dropped, err)
	}
	run, _, err := db.TakeWebhook(ctx, w.ID, time.Minute, 2)
	if err != nil || run.Dropped != 5 || !slices.Equal(places(run.Deliveries), places(ds[5:7])) {
		t.Fatalf("%+v, %v", run, err)
	}
	more, err := db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: w.ID, Run: run.Run, Done: places(run.Deliveries), Told: 5})
	if err != nil || !more {
		t.Errorf("%v, %v", more, err)
	}
	if got := hook(t, db, u, w.ID); got.Dropped != 0 || got.Waiting != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := db.Exec(ctx, `UPDATE webhook_deliveries SET created = now() - interval '25 hours'`); err != nil {
		t.Fatal(err)
	}
	if n, err := db.ExpireDeliveries(ctx, 24*time.Hour, 10); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := db.ExpireDeliveries(ctx, 24*time.Hour, 10); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := hook(t, db, u, w.ID); got.Dropped != 1 || got.Waiting != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWebhooksThatFailForLongAreDisabled(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	w := aHook(t, db, u, b.ID, "")
	d := toldOf(w.ID, "g:x", 1000)
	fails := func(failures int, gone bool) {
		t.Helper()
		if _, _, err := db.Enqueue(ctx, []im.WebhookDelivery{d}, 5, 1<<20); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, `UPDATE webhooks SET due = now() - interval '1 second'; UPDATE webhook_deliveries SET due = now() - interval '1 second'`); err != nil {
			t.Fatal(err)
		}
		run, ok, err := db.TakeWebhook(ctx, w.ID, time.Minute, 2)
		if err != nil || !ok {
			t.Fatalf("%v, %v", ok, err)
		}
		more, err := db.SettleWebhook(ctx, im.WebhookOutcome{
			Webhook: w.ID, Run: run.Run, Retry: []im.WebhookRetry{{Place: d.Place, After: time.Second}}, After: time.Hour,
			Failures: failures, Failure: "it answered 500", Gone: gone, DisableAfter: 72 * time.Hour, DisableBeyond: 10,
		})
		if err != nil || more {
			t.Errorf("%v, %v", more, err)
		}
	}
	fails(1, false)
	since := hook(t, db, u, w.ID)
	if since.Failing == 0 || since.Failure != "it answered 500" || !since.Enabled {
		t.Errorf("%+v", since)
	}
	if ready, _, err := db.Enqueue(ctx, []im.WebhookDelivery{d}, 5, 1<<20); err != nil || len(ready) != 0 {
		t.Errorf("what fails is tried with each message: %v, %v", ready, err)
	}
	fails(20, false) // not for long
	if got := hook(t, db, u, w.ID); !got.Enabled || got.Failing != since.Failing {
		t.Errorf("%+v", got)
	}
	if _, err := db.Exec(ctx, `UPDATE webhooks SET failing = now() - interval '73 hours'`); err != nil {
		t.Fatal(err)
	}
	fails(9, false) // not often
	if got := hook(t, db, u, w.ID); !got.Enabled {
		t.Errorf("%+v", got)
	}
	fails(10, false)
	if got := hook(t, db, u, w.ID); got.Enabled || got.Reason != im.WebhookFailing || got.Waiting != 0 || got.Dropped != 1 {
		t.Errorf("%+v", got)
	}
	tell := func() (owner string, w2 im.Webhook, was bool) {
		t.Helper()
		hooks, err := db.UntoldWebhooks(ctx, 10)
		if err != nil || len(hooks) > 1 {
			t.Errorf("%v, %v", hooks, err)
		}
		pgtest.Wants(t, pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
			owner, w2, was, err = tx.ToldWebhook(ctx, w.ID)
			return err
		}), "")
		return owner, w2, was
	}
	if owner, got, was := tell(); owner != u || !was || got.ID != w.ID || got.Bot != b.ID || got.Reason != im.WebhookFailing || got.Failing == 0 {
		t.Errorf("%s, %+v, %v", owner, got, was)
	}
	if _, _, was := tell(); was {
		t.Error("the owner is told twice")
	}

	on := true
	if got, err := db.UpdateWebhook(ctx, u, w.ID, im.WebhookChange{Enabled: &on}); err != nil || !got.Enabled || got.Failing != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	fails(1, true)
	if got := hook(t, db, u, w.ID); got.Enabled || got.Reason != im.WebhookGone {
		t.Errorf("%+v", got)
	}
	if _, _, was := tell(); !was {
		t.Error("the owner is not told")
	}
}

func TestWhoTookTooLongOverAWebhookChangesNothingOfIt(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	w := aHook(t, db, u, b.ID, "")
	d := toldOf(w.ID, "g:x", 1000)
	if _, _, err := db.Enqueue(ctx, []im.WebhookDelivery{d}, 5, 1<<20); err != nil {
		t.Fatal(err)
	}
	slow, _, err := db.TakeWebhook(ctx, w.ID, -time.Second, 5) // a lease that is over
	pgtest.Wants(t, err, "")
	quick, ok, err := db.TakeWebhook(ctx, w.ID, time.Minute, 5)
	if err != nil || !ok || quick.Run == slow.Run {
		t.Fatalf("%+v, %v", quick, err)
	}
	_, err = db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: w.ID, Run: slow.Run, Failures: 99, Failure: "late", Gone: true})
	pgtest.Wants(t, err, "")
	if got := hook(t, db, u, w.ID); !got.Enabled || got.Failure != "" {
		t.Errorf("%+v", got)
	}
	pgtest.Wants(t, db.DeleteWebhook(ctx, u, w.ID), "")
	if more, err := db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: w.ID, Run: quick.Run, Done: []im.Place{d.Place}}); err != nil || more {
		t.Errorf("of one that was deleted: %v, %v", more, err)
	}
}

func TestRecalledMessagesAreWithdrawn(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	w := aHook(t, db, u, b.ID, "")
	ds := []im.WebhookDelivery{toldOf(w.ID, "g:x", 1000), toldOf(w.ID, "g:x", 2000)}
	if _, _, err := db.Enqueue(ctx, ds, 5, 1<<20); err != nil {
		t.Fatal(err)
	}
	pgtest.Wants(t, db.Withdraw(ctx, []string{w.ID}, []string{ds[0].Place.ID}), "")
	run, _, err := db.TakeWebhook(ctx, w.ID, time.Minute, 5)
	if err != nil || !slices.Equal(places(run.Deliveries), places(ds[1:])) {
		t.Errorf("%+v, %v", run, err)
	}
}

// Whoever adds, takes and settles at once does so without a deadlock, and what
// came is delivered.
func TestWebhooksAreFilledAndEmptiedAtOnce(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	b, _ := aBot(t, db, u, "echo")
	hooks := []im.Webhook{aHook(t, db, u, b.ID, ""), aHook(t, db, u, b.ID, ""), aHook(t, db, u, b.ID, "")}
	const rounds = 20
	var mu sync.Mutex
	seen := make(map[string]int)
	var all sync.WaitGroup
	var filling sync.WaitGroup
	for n := range 4 {
		filling.Go(func() {
			for i := range rounds {
				var ds []im.WebhookDelivery
				for j := range hooks {
					ds = append(ds, toldOf(hooks[(j+n)%3].ID, im.Conversation(fmt.Sprint("g:", n)), int64(1000*n+i)))
				}
				if _, _, err := db.Enqueue(ctx, ds, 1000, 1<<20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	filled := make(chan struct{})
	go func() { filling.Wait(); close(filled) }()
	for n := range 3 {
		all.Go(func() {
			for last := false; ; {
				more := false
				for j := range hooks {
					run, ok, err := db.TakeWebhook(ctx, hooks[(j+n)%3].ID, time.Minute, 7)
					if err != nil {
						t.Error(err)
						return
					}
					if !ok {
						continue
					}
					mu.Lock()
					for _, d := range run.Deliveries {
						seen[d.Webhook+d.Place.ID]++
					}
					mu.Unlock()
					again, err := db.SettleWebhook(ctx, im.WebhookOutcome{Webhook: run.ID, Run: run.Run, Done: places(run.Deliveries)})
					if err != nil {
						t.Error(err)
						return
					}
					more = more || again
				}
				if last && !more {
					return
				}
				select {
				case <-filled:
					last = true
				default:
				}
			}
		})
	}
	all.Wait()
	if want := 4 * rounds * len(hooks); len(seen) != want {
		t.Errorf("%d were delivered of %d", len(seen), want)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}
