package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/proc"
)

type metrics struct {
	lag       *prometheus.GaugeVec
	delivered *prometheus.CounterVec
	retried   *prometheus.CounterVec
	dead      *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	batch     *prometheus.HistogramVec
}

func newMetrics(env *proc.Env) *metrics {
	byFunction := []string{"function"}
	m := &metrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidings_connector_lag_records", Help: "Records of a partition that the function has not done yet.",
		}, []string{"function", "topic", "partition"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_connector_delivered_total", Help: "Events that the function has done.",
		}, byFunction),
		retried: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_connector_retried_total", Help: "Events posted again.",
		}, byFunction),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_connector_dead_total", Help: "Records written to the dead letters.",
		}, byFunction),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_connector_request_seconds", Help: "How long requests to the function took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, byFunction),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_connector_request_events", Help: "Events in each request to the function.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}, byFunction),
	}
	env.Metrics.MustRegister(m.lag, m.delivered, m.retried, m.dead, m.seconds, m.batch)
	return m
}
