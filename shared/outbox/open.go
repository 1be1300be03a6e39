package outbox

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/notices"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

// Open returns the process's outbox. It connects when first used.
func Open(ctx context.Context, env *proc.Env) (*Outbox, error) {
	db, dbErr := postgres.Open(ctx, env)
	cache, redisErr := redis.Open(ctx, env)
	producer, kafkaErr := kafka.Open(ctx, env)
	seal, sealErr := fn.Keyring(env)
	if err := errors.Join(dbErr, redisErr, kafkaErr, sealErr); err != nil {
		return nil, err
	}
	return proc.Share(env, "outbox", func() (*Outbox, func() error, error) {
		m := newMetrics()
		env.Metrics.MustRegister(m.relayed, m.aside, m.age)
		return &Outbox{store: notices.New(db), places: cache, caches: cache, budget: cache, to: producer, seal: seal.Sign, log: env.Log, metrics: m}, nil, nil
	})
}

type metrics struct {
	relayed, aside prometheus.Counter
	age            prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_outbox_relayed_total", Help: "Notices of changes that outbox-relay published, because whoever made the change did not.",
		}),
		aside: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_outbox_aside_total", Help: "Notices of changes that can never be published, and were set aside in the table outbox.",
		}),
		age: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_outbox_age_seconds", Help: "Age of the earliest notice of a change that waited when outbox-relay looked last; 0 if there was none.",
		}),
	}
}
