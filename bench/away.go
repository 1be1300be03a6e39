package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const awayRate = 20 // messages per second to users who are offline, paced

// away takes what the server sends to NOTIFY_WEBHOOK_URL.
type away struct {
	secret string
	stop   func()

	mu     sync.Mutex
	due    map[awayKey]time.Time
	told   int
	again  int // to another device of the same user, or twice
	last   time.Time
	took   histogram
	broken error
}

// An awayKey is what a device is notified of once, however much is said.
type awayKey struct {
	user         string
	conversation im.Conversation
}

func listenAway(addr, secret string) (*away, error) {
	a := &away{secret: secret}
	_, stop, err := serveHooks(addr, a)
	a.stop = stop
	return a, err
}

func (a *away) close() { a.stop() }

func (a *away) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Data struct {
			Notifications []struct {
				User         string          `json:"user"`
				Conversation im.Conversation `json:"conversation"`
				Count        int             `json:"count"`
			} `json:"notifications"`
		} `json:"data"`
	}
	now, err := readHook(r, a.secret, &in)
	w.WriteHeader(http.StatusNoContent)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.broken = err
	}
	for _, n := range in.Data.Notifications {
		due, ok := a.due[awayKey{n.User, n.Conversation}]
		switch {
		case !ok: // of another scenario
		case due.IsZero():
			a.again++
		default:
			a.took.add(now.Sub(due))
			a.due[awayKey{n.User, n.Conversation}] = time.Time{}
			a.told++
			a.last = now
		}
	}
}

// expect has notifications counted anew.
func (a *away) expect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due, a.told, a.again, a.took, a.broken = make(map[awayKey]time.Time), 0, 0, histogram{}, nil
}

func (a *away) await(k awayKey, due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due[k] = due
}

// notifications measures how soon the devices of users are notified who are
// not connected: of messages to one each, and of one to all of a group.
func (b *bench) notifications(ctx context.Context) error {
	const name = "notifications of devices that are offline"
	if b.told == nil {
		b.report.add(name, "not measured: say -away <host:port>, and start the server with NOTIFY_WEBHOOK_URL=http://<host:port>/, NOTIFY_WEBHOOK_SECRET and NOTIFY_AFTER=1ms")
		return nil
	}
	users, err := b.crew.muster(ctx, b.group)
	if err != nil {
		return err
	}
	group, err := b.crew.group(ctx, b.group)
	if err != nil {
		return err
	}
	// Somebody else than the last time: of a conversation one is notified again
	// after NOTIFY_EVERY only.
	i := rand.IntN(len(users))
	from, others := users[i], slices.Delete(slices.Clone(users), i, i+1)
	to := others[:min(len(others), int(awayRate*b.duration.Seconds()/3))]
	var ack histogram
	b.told.expect()
	before, began := b.use.read(), time.Now()
	for i, u := range to {
		due := began.Add(time.Duration(i) * time.Second / awayRate)
		if err := retry.Sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		b.told.await(awayKey{u.ID, im.Direct(from.ID, u.ID)}, due)
		if err := b.say(ctx, from, "u:"+u.ID); err != nil {
			return err
		}
		ack.add(time.Since(due))
	}
	some, err := b.notified(ctx, fmt.Sprintf("%s, paced at %d messages/s", name, awayRate), len(to), &ack, began, before)
	if err != nil || !some {
		return err
	}
	ack = histogram{}
	b.told.expect()
	before, began = b.use.read(), time.Now()
	for _, u := range others {
		b.told.await(awayKey{u.ID, group}, began)
	}
	if err := b.say(ctx, from, string(group)); err != nil {
		return err
	}
	ack.add(time.Since(began))
	_, err = b.notified(ctx, fmt.Sprintf("one message to a group of %d, all offline", b.group), len(others), &ack, began, before)
	return err
}

func (b *bench) say(ctx context.Context, from *user, to string) error {
	err := b.api.Call(ctx, http.MethodPost, "/v1/messages", from.AccessToken, map[string]string{"to": to, "text": "tidings for who is away"}, nil)
	if err != nil {
		return fmt.Errorf("message-send: %w", err)
	}
	return nil
}

// notified waits until so many users were notified, and adds what was measured.
func (b *bench) notified(ctx context.Context, name string, wanted int, ack *histogram, began time.Time, before map[int]time.Duration) (some bool, err error) {
	a := b.told
	all, err := wait(ctx, b.patience, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.told >= wanted || a.broken != nil
	})
	if err != nil {
		return false, err
	}
	spent := b.use.since(before)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return false, fmt.Errorf("reading a notification: %w", a.broken)
	}
	if a.told == 0 {
		b.report.add(name, "not measured: nothing came; set NOTIFY_WEBHOOK_URL to where -away listens")
		return false, nil
	}
	if !all {
		for k, due := range a.due {
			if !due.IsZero() {
				b.found.add("lost: %s was not notified of what was said in %s", k.user, k.conversation)
			}
		}
	}
	note := "NOTIFY_AFTER is part of it"
	if a.again > 0 {
		note += fmt.Sprintf("; %d more, to other devices of the same users", a.again)
	}
	b.report.add(name, fmt.Sprintf("**%s** notified", count(float64(a.told)/a.last.Sub(began).Seconds())), spread(ack), spread(&a.took), costs(spent, float64(a.told)), note)
	return true, nil
}
