// Package push is the functions that bring what happens to the gateways which
// hold the sockets of those concerned: push-fanout for messages, push-signal
// for what is kept nowhere, push-presence for who has come or gone.
//
// Nothing here is ever tried for long. What a push does not bring, the inbox
// has, and a gateway tells its clients when they are behind.
package push

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingTimeout = proc.Setting{Name: "PUSH_TIMEOUT", Default: "1s", Doc: "how long a gateway may take over a batch of pushes before it is given up"}
	settingFanout  = proc.Setting{Name: "PRESENCE_FANOUT", Default: "500", Doc: "how many friends of a user are told when the user comes or goes, at most; the others see it when they ask"}
)

// Fanout pushes messages that have come into inboxes to the connected among
// those whose inboxes they are.
var Fanout = fn.OnTopic("push-fanout", event.TopicDeliveries, event.InboxAppended, func(o *fn.Opener) fn.Handler {
	return fn.On(fanout(deliveryIn(o)))
})

// Signal passes ephemeral frames on to the others in a conversation.
var Signal = fn.OnEvent("push-signal", event.Signal, func(o *fn.Opener) fn.Handler {
	return fn.On(signal(deliveryIn(o), redis.RelationsIn(o, friends.In(o)), redis.MembersIn(o, groups.In(o)), newAcquaintance(messages.In(o)), direct.Policy(o.Settings)))
})

// Presence tells the friends of users that these have come or gone.
var Presence = fn.OnEvent("push-presence", event.PresenceChanged, func(o *fn.Opener) fn.Handler {
	return fn.On(presence(deliveryIn(o), redis.OnlineIn(o), friends.In(o), o.Int(settingFanout, 1)))
})

// deliveryIn returns the process's way to the gateways.
func deliveryIn(o *fn.Opener) *delivery {
	cache, gateways, seal, poster := redis.In(o), redis.GatewaysIn(o), fn.KeyringIn(o), fn.PosterIn(o, o.Duration(settingTimeout))
	return proc.ShareIn(o, "push.delivery", func() (*delivery, func() error, error) {
		d := &delivery{
			conns:    cache,
			gateways: gateways,
			post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
				return poster.Deliver(ctx, "gateway", url, events)
			},
			seal:    seal,
			log:     o.Env().Log,
			pushed:  newPushed(),
			circuit: newCircuit(),
		}
		return d, nil, o.Env().Metrics.Register(d.pushed)
	})
}

func newPushed() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_pushes_total",
		Help: "Events posted to gateways, by what became of them: done, or dropped and why.",
	}, []string{"outcome"})
}
