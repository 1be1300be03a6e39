// Package away is the functions that reach people whose devices are offline:
// push-key, push-subscribe and push-unsubscribe are called by devices,
// notify-away notes of which messages which devices are to be notified and
// sends that, notify-retry sends what was left.
//
// A notification says that there is something to read, to a device that had no
// connection when the message came and still has none a while later. It is a
// courtesy: the message itself is in the inbox.
package away

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/postgres/notifications"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/webhook"
	"github.com/tidings-im/tidings/shared/webpush"
)

var (
	settingAfter    = proc.Setting{Name: "NOTIFY_AFTER", Default: "5s", Doc: "how long after a message a device that is offline is notified of it, if it is not back by then"}
	settingEvery    = proc.Setting{Name: "NOTIFY_EVERY", Default: "30s", Doc: "how long after a notification the next one of the same conversation goes to the same device; what comes meanwhile is one"}
	settingTTL      = proc.Setting{Name: "NOTIFY_TTL", Default: "24h", Doc: "after how long a notification is dropped that nobody took; push services keep it for a device no longer than that either"}
	settingParallel = proc.Setting{Name: "NOTIFY_PARALLEL", Default: "32", Doc: "devices to which a process sends at a time"}
	settingTimeout  = proc.Setting{Name: "NOTIFY_TIMEOUT", Default: "5s", Doc: "how long a push service, or the webhook, may take over one request"}
	settingHook     = proc.Setting{Name: "NOTIFY_WEBHOOK_URL", Doc: "URL that is told of devices which are offline and have not subscribed to Web Push, such as a bridge to APNs and FCM; it may be inside your network. Unset, these are not notified"}
	settingSecret   = proc.Setting{Name: "NOTIFY_WEBHOOK_SECRET", Secret: true, Doc: "what requests to NOTIFY_WEBHOOK_URL are signed with, whsec_<base64>, as Standard Webhooks says; needed if that is set"}
	settingMost     = proc.Setting{Name: "MAX_PUSH_SUBSCRIPTIONS_PER_USER", Default: "20", Doc: "devices of a user that are subscribed to Web Push at most; one more takes the place of the one that subscribed first"}
)

// Key returns the key by which browsers subscribe to Web Push.
var Key = fn.API("push-key", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), key(webpush.PublicKeyIn(o))) })

// Subscribe has the device of the caller notified by Web Push.
var Subscribe = fn.API("push-subscribe", fn.People, func(o *fn.Opener) fn.Handler {
	s := &subscriber{
		store: notifications.In(o), marks: redis.In(o), fresh: fn.FreshIn(o), limit: redis.LimitIn(o, redis.PushSubscriptions),
		checkURL: webhook.RuleIn(o).CheckURL, checkKey: webpush.CheckP256dh,
		most: o.Int(settingMost, 1), on: webpush.PublicKeyIn(o) != "",
	}
	return fn.CallAs(redis.GateIn(o), s.subscribe)
}).Asks(fn.AskedInside()).Audits(audit.PushChange) // to be shown what messages say, unless it is already

// Unsubscribe ends that.
var Unsubscribe = fn.API("push-unsubscribe", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), unsubscribe(notifications.In(o)))
}).Audits(audit.PushChange)

// Notify notes which devices that are offline are to be notified of messages,
// and sends it.
var Notify = fn.OnTopic("notify-away", event.TopicDeliveries, event.InboxAppended, func(o *fn.Opener) fn.Handler {
	db, cache, s := notifications.In(o), redis.In(o), senderIn(o)
	if s == nil {
		return fn.Handler{}
	}
	a := &alarm{ring: s.run, next: db.NextNotification, log: o.Env().Log}
	a.start()
	o.Env().OnClose(a.close)
	n := &noter{
		store: db, conns: cache, subs: newSubscribers(db, cache), at: s.at, due: a.set,
		all: s.ways.post != nil, on: s.ways.web != nil || s.ways.post != nil,
	}
	return fn.On(n.note)
})

// Retry sends what is due and nobody else has sent.
var Retry = fn.Every("notify-retry", time.Minute, func(o *fn.Opener) fn.Handler { return fn.Timed(sweep(senderIn(o), notifications.In(o))) })

// senderIn returns the process's sender.
func senderIn(o *fn.Opener) *sender {
	db, m := notifications.In(o), newMetrics()
	s := &sender{
		queue: db, subs: db, conns: redis.In(o), unread: &reader{inbox.In(o), db}, ways: waysIn(o),
		at:       im.NotifyTiming{After: o.Duration(settingAfter), Every: o.Duration(settingEvery), TTL: o.Duration(settingTTL)},
		parallel: o.Int(settingParallel, 1), circuit: newCircuit(), metrics: m, log: o.Env().Log,
	}
	return proc.ShareIn(o, "away.sender", func() (*sender, func() error, error) {
		in := o.Env().Metrics
		return s, nil, errors.Join(in.Register(m.outcomes), in.Register(m.delay), in.Register(m.overdue))
	})
}

func waysIn(o *fn.Opener) *ways {
	w := &ways{timeout: o.Duration(settingTimeout)}
	if web := webpush.In(o); web != nil {
		w.web = web
	}
	to, secret := o.String(settingHook), o.String(settingSecret)
	if to == "" {
		return w
	}
	u, err := url.Parse(to)
	if err != nil || webhook.CheckURL(to, true) != nil {
		o.Fail(errors.New("setting NOTIFY_WEBHOOK_URL: is not a URL such as https://bridge.example/away"))
		return w
	}
	if _, err := webhook.Sign("", time.Now(), nil, secret); err != nil {
		o.Fail(errors.New("setting NOTIFY_WEBHOOK_SECRET: is not whsec_ and base64"))
	}
	w.host = u.Host
	// The operator's own: it goes wherever they say, unlike what users name.
	o.Env().Uses(proc.Outside)
	hooks := webhook.NewSender(w.timeout, true)
	w.post = func(ctx context.Context, id string, at time.Time, body []byte) error {
		return hooks.Send(ctx, to, secret, id, at, body)
	}
	return w
}
