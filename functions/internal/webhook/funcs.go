// Package webhook is the functions of webhooks, by which the endpoints of bots
// are told of messages: webhook-create, webhook-list, webhook-update and
// webhook-delete, by which people keep them, webhook-deliver and webhook-retry.
//
// What is to be delivered is written down first. Webhook-deliver sends it right
// after that, webhook-retry what has failed or was left, so that a message is
// delivered at least once, unless it is dropped: for its age, or because too
// many wait. Both send beside what they answer, a few at a time to one domain, so
// that nobody waits for an endpoint that hangs but its own messages.
package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/vault"
	"github.com/tidings-im/tidings/shared/webhook"
)

var (
	settingHooks    = proc.Setting{Name: "MAX_WEBHOOKS_PER_BOT", Default: "3", Doc: "most webhooks of a bot"}
	settingQueue    = proc.Setting{Name: "WEBHOOK_QUEUE", Default: "1000", Doc: "most messages that wait for a webhook, of 4 MiB together; of more the oldest are dropped, and the endpoint is told how many"}
	settingParallel = proc.Setting{Name: "WEBHOOK_PARALLEL", Default: "64", Doc: "most webhooks that a process delivers to at a time, 8 of one domain"}
	settingDisable  = proc.Setting{Name: "WEBHOOK_DISABLE_AFTER", Default: "72h", Doc: "after how long in which nothing has arrived a webhook is disabled and its owner told"}
)

// queueBytes is how much waits for a webhook at most.
const queueBytes = 4 << 20

// Functions of owners.
var (
	// Create adds a webhook to a bot of the caller.
	Create = owners("webhook-create", fn.Fresh(), func(o opened) handler {
		return call((&creator{hooks: o.db, urls: o.urls, vault: o.vault, limit: o.limit, most: o.most}).call)
	})
	// List returns the webhooks of the bots of the caller.
	List = owners("webhook-list", fn.Proof{}, func(o opened) handler { return call(list(o.db)) })
	// Update changes a webhook, or its secret.
	Update = owners("webhook-update", fn.FreshWith("url", "conversation", "enabled", "rotate_secret"), func(o opened) handler {
		return call((&changer{hooks: o.db, urls: o.urls, vault: o.vault, limit: o.limit}).call)
	})
	// Delete deletes a webhook.
	Delete = owners("webhook-delete", fn.Proof{}, func(o opened) handler { return call(remove(o.db)) })
)

// Deliver delivers messages that have come into the inboxes of bots to their
// webhooks.
var Deliver = fn.Func{
	Name:    "webhook-deliver",
	Accepts: event.InboxAppended,
	Topic:   event.TopicDeliveries,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most := set.Int(settingQueue, 1)
		db, dbErr := postgres.Open(ctx, env)
		p, err := openPool(ctx, env)
		if err := errors.Join(set.Err(), dbErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.On((&deliverer{queue: db, send: p.kick, dropped: p.metrics.dropped.Add, most: most}).deliver), nil
	},
}

// Retry delivers what has failed or was left, and does without what cannot be
// delivered.
var Retry = fn.Func{
	Name:  "webhook-retry",
	Every: time.Minute,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		db, dbErr := postgres.Open(ctx, env)
		box, boxErr := outbox.Open(ctx, env)
		p, err := openPool(ctx, env)
		if err := errors.Join(dbErr, boxErr, err); err != nil {
			return fn.Handler{}, err
		}
		change := func(ctx context.Context, f func(context.Context, teller) error) error {
			return box.Change(ctx, func(ctx context.Context, tx *postgres.Tx) error { return f(ctx, tx) })
		}
		return fn.Timed((&retrier{store: db, change: change, send: p.kick, wait: p.wait, metrics: p.metrics}).retry), nil
	},
}

// handler is what a function does, behind a gate.
type handler func(fn.Gate) fn.Handler

func call[In, Out any](f func(context.Context, im.Caller, In) (Out, error)) handler {
	return func(gate fn.Gate) fn.Handler { return fn.CallAs(gate, f) }
}

// opened is what the functions of owners need.
type opened struct {
	db    *postgres.DB
	urls  webhook.Rule
	vault *vault.Vault
	limit *redis.Limit
	most  int // webhooks of a bot
}

func owners(name string, proof fn.Proof, of func(opened) handler) fn.Func {
	return fn.Func{
		Name:    name,
		Accepts: event.CallType(name),
		Public:  true,
		Proof:   proof,
		New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
			set := env.Settings()
			o := opened{most: set.Int(settingHooks, 0)}
			var errs [4]error
			o.db, errs[0] = postgres.Open(ctx, env)
			o.urls, errs[1] = webhook.OpenRule(env)
			o.vault, errs[2] = vault.Open(env)
			o.limit, errs[3] = redis.OpenLimit(ctx, env, redis.BotSecrets)
			gate, gateErr := redis.OpenGate(ctx, env)
			if err := errors.Join(set.Err(), errors.Join(errs[:]...), gateErr); err != nil {
				return fn.Handler{}, err
			}
			return of(o)(gate), nil
		},
	}
}

// openPool returns the process's pool of deliveries.
func openPool(ctx context.Context, env *proc.Env) (*pool, error) {
	set := env.Settings()
	parallel, disable := set.Int(settingParallel, 1), set.Duration(settingDisable)
	db, dbErr := postgres.Open(ctx, env)
	sender, senderErr := webhook.Open(env)
	secrets, vaultErr := vault.Open(env)
	if err := errors.Join(set.Err(), dbErr, senderErr, vaultErr); err != nil {
		return nil, err
	}
	return proc.Share(env, "webhook.pool", func() (*pool, func() error, error) {
		m := newMetrics()
		env.Metrics.MustRegister(m.attempts, m.dropped, m.disabled, m.overdue)
		r := &runner{store: db, send: sender.Send, open: opener(secrets), now: time.Now, jitter: jitter, disable: disable, metrics: m}
		p := newPool(ctx, parallel, r.run, env.Log)
		p.metrics = m
		return p, func() error { p.close(); return nil }, nil
	})
}
