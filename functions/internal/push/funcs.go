// Package push is the functions that bring what happens to the gateways which
// hold the sockets of those concerned: push-fanout for messages, push-signal
// for what is kept nowhere, push-presence for who has come or gone.
//
// Nothing here is ever tried for long. What a push does not bring, the inbox
// has, and a gateway tells its clients when they are behind.
package push

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingTimeout = proc.Setting{Name: "PUSH_TIMEOUT", Default: "1s", Doc: "how long a gateway may take over a batch of pushes before it is given up"}
	settingFanout  = proc.Setting{Name: "PRESENCE_FANOUT", Default: "500", Doc: "how many friends of a user are told when the user comes or goes, at most; the others see it when they ask"}
)

// Fanout pushes messages that have come into inboxes to the connected among
// those whose inboxes they are.
var Fanout = fn.Func{
	Name:    "push-fanout",
	Accepts: event.InboxAppended,
	Topic:   event.TopicDeliveries,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		cache, err := redis.Open(ctx, env)
		if err != nil {
			return fn.Handler{}, err
		}
		to, err := newDelivery(env, cache)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.On(fanout(to)), nil
	},
}

// Signal passes ephemeral frames on to the others in a conversation.
var Signal = fn.Func{
	Name:    "push-signal",
	Accepts: event.Signal,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		policy := direct.Policy(set)
		cache, redisErr := redis.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		if err := errors.Join(set.Err(), redisErr, dbErr); err != nil {
			return fn.Handler{}, err
		}
		to, err := newDelivery(env, cache)
		if err != nil {
			return fn.Handler{}, err
		}
		return fn.On(signal(to, cache.NewRelations(db), cache.NewMembers(db), newAcquaintance(db), policy)), nil
	},
}

// Presence tells the friends of users that these have come or gone.
var Presence = fn.Func{
	Name:    "push-presence",
	Accepts: event.PresenceChanged,
	New: func(ctx context.Context, env *proc.Env) (fn.Handler, error) {
		set := env.Settings()
		most := set.Int(settingFanout, 1)
		cache, redisErr := redis.Open(ctx, env)
		db, dbErr := postgres.Open(ctx, env)
		if err := errors.Join(set.Err(), redisErr, dbErr); err != nil {
			return fn.Handler{}, err
		}
		online, onlineErr := cache.NewOnline(env)
		to, err := newDelivery(env, cache)
		if err := errors.Join(onlineErr, err); err != nil {
			return fn.Handler{}, err
		}
		return fn.On(presence(to, online, db, most)), nil
	},
}

// newDelivery returns the process's way to the gateways.
func newDelivery(env *proc.Env, cache *redis.Client) (*delivery, error) {
	set := env.Settings()
	timeout := set.Duration(settingTimeout)
	seal, sealErr := fn.Keyring(env)
	poster, posterErr := fn.OpenPoster(env, timeout)
	if err := errors.Join(set.Err(), sealErr, posterErr); err != nil {
		return nil, err
	}
	return proc.Share(env, "push.delivery", func() (*delivery, func() error, error) {
		d := &delivery{
			conns:    cache,
			gateways: cache.NewGateways(env),
			post: func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error) {
				return poster.Deliver(ctx, "gateway", url, events)
			},
			seal:    seal,
			log:     env.Log,
			pushed:  newPushed(),
			circuit: newCircuit(),
		}
		if err := env.Metrics.Register(d.pushed); err != nil {
			return nil, nil, err
		}
		return d, poster.Close, nil
	})
}

func newPushed() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidings_pushes_total",
		Help: "Events posted to gateways, by what became of them: done, or dropped and why.",
	}, []string{"outcome"})
}
