package ws

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/im"
)

// Metrics are what a gateway counts. Two hubs of one process share them.
type Metrics struct {
	connections prometheus.Gauge
	limit       prometheus.Gauge
	upgrades    *prometheus.CounterVec
	closes      *prometheus.CounterVec
	received    *prometheus.CounterVec
	pushed      *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	latency     prometheus.Histogram
	delivery    prometheus.Histogram
	dropped     prometheus.Counter
	looks       *prometheus.CounterVec
}

// NewMetrics returns metrics that reg gathers.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_gateway_" + name, Help: help}, []string{label})
	}
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_gateway_connections", Help: "Connections held.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_gateway_connections_limit", Help: "Most connections that are held; more are refused.",
		}),
		upgrades: vec("connections_refused_total", "Requests for a connection that were refused, by kind of error.", "kind"),
		closes:   vec("closes_total", "Connections that ended: by the reason of the close code, by the client, or lost.", "reason"),
		received: vec("frames_received_total", "Frames that clients sent, by type.", "type"),
		pushed:   vec("frames_pushed_total", "Frames pushed to clients, by type.", "type"),
		looks:    vec("presence_looks_total", "Users at whom push-presence was asked to look, because they may have come or gone, by what became of that.", "outcome"),
		refusals: vec("messages_refused_total", "Messages refused, by kind of error.", "kind"),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_gateway_accept_seconds", Help: "From receiving a message to telling its sender that it is accepted.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
		delivery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidings_gateway_deliver_seconds", Help: "From the time of a message to having written it to a socket, of each that is pushed.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_gateway_signals_dropped_total", Help: "Typing and signal frames that were dropped rather than wait.",
		}),
	}
	reg.MustRegister(m.connections, m.limit, m.upgrades, m.closes, m.received, m.pushed, m.refusals, m.latency, m.delivery, m.dropped, m.looks)
	return m
}

func (m *Metrics) in(typ string)            { m.received.WithLabelValues(typ).Inc() }
func (m *Metrics) out(typ string, n int)    { m.pushed.WithLabelValues(typ).Add(float64(n)) }
func (m *Metrics) refused(k im.Kind)        { m.refusals.WithLabelValues(string(k)).Inc() }
func (m *Metrics) accepted(d time.Duration) { m.latency.Observe(d.Seconds()) }

// written measures how long messages took that were written just now. Their
// times are of the clocks of chat-ingest, which may be ahead of this one.
func (m *Metrics) written(frames []outgoing) {
	var now im.Time
	for i := range frames {
		if frames[i].placed == 0 {
			continue
		}
		if now == 0 {
			now = im.Now()
		}
		m.delivery.Observe(float64(max(now-frames[i].placed, 0)) / 1e6)
	}
}
