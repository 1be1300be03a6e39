package away

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	outcomes *prometheus.CounterVec
	delay    prometheus.Histogram
	overdue  prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_notifications_total",
			Help: "Notifications of devices that are offline, by the way that they go and what became of them: sent, dropped and why, or failed and tried again.",
		}, []string{"way", "outcome"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tidings_notification_delay_seconds",
			Help:    "From the first message that a notification is for to when a push service or the webhook took it.",
			Buckets: []float64{1, 2.5, 5, 10, 20, 40, 60, 120, 300, 900, 3600, 14400, 86400},
		}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_notifications_overdue_seconds",
			Help: "For how long the notification had been due that was for longest when notify-retry had sent what it could.",
		}),
	}
}
