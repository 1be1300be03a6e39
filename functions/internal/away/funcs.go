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

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/postgres"
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
var Key = fn.Func{
	Name:    "push-key",
	Accepts: event.CallType("push-key"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		public, keyErr := webpush.OpenPublicKey(env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(keyErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, key(public)), nil
	},
}

// Subscribe has the device of the caller notified by Web Push.
var Subscribe = fn.Func{
	Name:    "push-subscribe",
	Accepts: event.CallType("push-subscribe"),
	Public:  true,
	Proof:   fn.AskedInside(), // to be shown what messages say, unless it is already
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most := set.Int(settingMost, 1)
		public, keyErr := webpush.OpenPublicKey(env)
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		limit, limitErr := redis.OpenLimit(ctx, env, redis.PushSubscriptions)
		urls, urlErr := webhook.OpenRule(env)
		fresh, freshErr := fn.FreshFor(env)
		if err := errors.Join(set.Err(), keyErr, dbErr, gateErr, limitErr, urlErr, freshErr); err != nil {
			return fn.Handler{}, err
		}
		s := &subscriber{store: db, fresh: fresh, limit: limit, checkURL: urls.CheckURL, checkKey: webpush.CheckP256dh, most: most, on: public != ""}
		return fn.CallAs(gate, s.subscribe), nil
	},
}

// Unsubscribe ends that.
var Unsubscribe = fn.Func{
	Name:    "push-unsubscribe",
	Accepts: event.CallType("push-unsubscribe"),
	Public:  true,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		gate, gateErr := redis.OpenGate(ctx, env)
		if err := errors.Join(dbErr, gateErr); err != nil {
			return fn.Handler{}, err
		}
		return fn.CallAs(gate, unsubscribe(db)), nil
	},
}

// Notify notes which devices that are offline are to be notified of messages,
// and sends it.
var Notify = fn.Func{
	Name:    "notify-away",
	Accepts: event.InboxAppended,
	Topic:   event.TopicDeliveries,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		s, err := openSender(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		db, dbErr := postgres.Open(ctx, env)
		cache, redisErr := redis.Open(ctx, env)
		if err := errors.Join(dbErr, redisErr); err != nil {
			return fn.Handler{}, err
		}
		a := &alarm{ring: s.run, next: db.NextNotification, log: env.Log}
		a.start()
		env.OnClose(a.close)
		n := &noter{
			store: db, conns: cache, at: s.at, due: a.set,
			all: s.ways.post != nil, on: s.ways.web != nil || s.ways.post != nil,
		}
		return fn.On(n.note), nil
	},
}

// Retry sends what is due and nobody else has sent.
var Retry = fn.Func{
	Name:  "notify-retry",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		s, err := openSender(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		db, err := postgres.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.Timed(retry(s, db)), nil
	},
}

// openSender returns the process's sender.
func openSender(ctx context.Context, env *proc.Env) (*sender, error) {
	set := env.Settings()
	at := im.NotifyTiming{After: set.Duration(settingAfter), Every: set.Duration(settingEvery), TTL: set.Duration(settingTTL)}
	parallel := set.Int(settingParallel, 1)
	to, waysErr := openWays(env)
	db, dbErr := postgres.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	inboxes, inboxErr := inbox.Open(ctx, env)
	if err := errors.Join(set.Err(), waysErr, dbErr, redisErr, inboxErr); err != nil {
		return nil, err
	}
	return proc.Share(env, "away.sender", func() (*sender, func() error, error) {
		m := newMetrics()
		if err := errors.Join(env.Metrics.Register(m.outcomes), env.Metrics.Register(m.delay), env.Metrics.Register(m.overdue)); err != nil {
			return nil, nil, err
		}
		return &sender{
			queue: db, subs: db, conns: cache, unread: &reader{inboxes, db}, ways: to, at: at,
			parallel: parallel, circuit: newCircuit(), metrics: m, log: env.Log,
		}, nil, nil
	})
}

func openWays(env *proc.Env) (*ways, error) {
	set := env.Settings()
	to, secret := set.String(settingHook), set.String(settingSecret)
	w := &ways{timeout: set.Duration(settingTimeout)}
	web, err := webpush.Open(env)
	if err := errors.Join(set.Err(), err); err != nil {
		return nil, err
	}
	if web != nil {
		w.web = web
	}
	if to == "" {
		return w, nil
	}
	u, err := url.Parse(to)
	if err != nil || webhook.CheckURL(to, true) != nil {
		return nil, errors.New("setting NOTIFY_WEBHOOK_URL: is not a URL such as https://bridge.example/away")
	}
	if _, err := webhook.Sign("", time.Now(), nil, secret); err != nil {
		return nil, errors.New("setting NOTIFY_WEBHOOK_SECRET: is not whsec_ and base64")
	}
	w.host = u.Host
	// The operator's own: it goes wherever they say, unlike what users name.
	env.Uses(proc.Outside)
	hooks := webhook.NewSender(w.timeout, true)
	w.post = func(ctx context.Context, id string, at time.Time, body []byte) error {
		return hooks.Send(ctx, to, secret, id, at, body)
	}
	return w, nil
}
