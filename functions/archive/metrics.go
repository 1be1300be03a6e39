// Package archive is the functions of history that is kept elsewhere:
// archive-history makes the partitions of history ahead and moves old ones to
// objects, archive-read reads these for other functions. It does not know who may
// read a conversation.
package archive

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	rows            prometheus.Counter
	waiting, behind prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_archive_messages_total", Help: "Messages that archive-history has written to the archive and read back.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_archive_waiting_spans", Help: "Months that archive-history has detached and not yet archived in full when it looked last.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidings_archive_behind_seconds", Help: "For how long the earliest month has been older than ARCHIVE_AFTER that archive-history had not archived in full when it ran last.",
		}),
	}
}
