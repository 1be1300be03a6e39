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
	"time"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/bots"
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

// Create adds a webhook to a bot of the caller.
var Create = fn.API("webhook-create", fn.People, func(o *fn.Opener) fn.Handler {
	c := &creator{
		hooks: bots.In(o), urls: webhook.RuleIn(o), vault: vault.In(o), limit: redis.LimitIn(o, redis.BotSecrets),
		most: o.Int(settingHooks, 0),
	}
	return fn.CallAs(redis.GateIn(o), c.call)
}).Asks(fn.Fresh()).Audits(audit.WebhookChange)

// List returns the webhooks of the bots of the caller.
var List = fn.API("webhook-list", fn.People, func(o *fn.Opener) fn.Handler { return fn.CallAs(redis.GateIn(o), list(bots.In(o))) })

// Update changes a webhook, or its secret.
var Update = fn.API("webhook-update", fn.People, func(o *fn.Opener) fn.Handler {
	c := &changer{hooks: bots.In(o), urls: webhook.RuleIn(o), vault: vault.In(o), limit: redis.LimitIn(o, redis.BotSecrets)}
	return fn.CallAs(redis.GateIn(o), c.call)
}).Asks(fn.FreshWith("url", "conversation", "enabled", "rotate_secret")).Audits(audit.WebhookChange)

// Delete deletes a webhook.
var Delete = fn.API("webhook-delete", fn.People, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), remove(bots.In(o)))
}).Audits(audit.WebhookChange)

// Deliver delivers messages that have come into the inboxes of bots to their
// webhooks.
var Deliver = fn.OnTopic("webhook-deliver", event.TopicDeliveries, event.InboxAppended, func(o *fn.Opener) fn.Handler {
	d := newDeliverer(bots.In(o), o.Int(settingQueue, 1))
	if p := poolIn(o); p != nil {
		d.send, d.dropped = p.kick, p.metrics.dropped.Add
	}
	return fn.On(d.deliver)
})

// Retry delivers what has failed or was left, and does without what cannot be
// delivered.
var Retry = fn.Every("webhook-retry", time.Minute, func(o *fn.Opener) fn.Handler {
	r := &retrier{store: bots.In(o), change: outbox.ChangesIn[teller](o, bots.With)}
	if p := poolIn(o); p != nil {
		r.send, r.wait, r.metrics = p.kick, p.wait, p.metrics
	}
	return fn.Timed(r.retry)
})

// poolIn returns the process's pool of deliveries.
func poolIn(o *fn.Opener) *pool {
	parallel := o.Int(settingParallel, 1)
	m, log := newMetrics(), o.Env().Log
	r := &runner{store: bots.In(o), open: opener(vault.In(o)), now: time.Now, pause: pauses.Equal, disable: o.Duration(settingDisable), metrics: m}
	sender := webhook.In(o)
	return proc.ShareIn(o, "webhook.pool", func() (*pool, func() error, error) {
		o.Env().Metrics.MustRegister(m.attempts, m.dropped, m.disabled, m.overdue)
		r.send = sender.Send
		p := newPool(o.Context(), parallel, r.run, log)
		p.metrics = m
		return p, func() error { p.close(); return nil }, nil
	})
}
