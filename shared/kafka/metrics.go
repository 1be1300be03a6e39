package kafka

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/proc"
)

type producerMetrics struct {
	records    prometheus.Histogram
	seconds    prometheus.Histogram
	retries    prometheus.Counter
	overloaded prometheus.Counter
}

func newProducerMetrics(env *proc.Env) *producerMetrics {
	m := &producerMetrics{
		records: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_kafka_produce_records", Help: "Records in each acknowledged request to a partition.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_kafka_produce_seconds", Help: "How long acknowledged requests to a partition took.",
			Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_kafka_produce_retries_total", Help: "Requests that were not acknowledged and are sent again.",
		}),
		overloaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_kafka_produce_overloaded_total", Help: "Records refused because the queue of their partition was full.",
		}),
	}
	env.Metrics.MustRegister(m.records, m.seconds, m.retries, m.overloaded)
	return m
}
