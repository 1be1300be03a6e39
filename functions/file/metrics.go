package file

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/proc"
)

type metrics struct {
	files *prometheus.CounterVec
	bytes prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_files_total", Help: "Files, by what became of them: created, completed, refused for what arrived, swept, ungranted.",
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidings_file_bytes_total", Help: "Bytes of files that were completed.",
		}),
	}
}

// openMetrics returns the process's metrics.
func openMetrics(env *proc.Env) (*metrics, error) {
	return proc.Share(env, "file.metrics", func() (*metrics, func() error, error) {
		m := newMetrics()
		return m, nil, errors.Join(env.Metrics.Register(m.files), env.Metrics.Register(m.bytes))
	})
}

// count counts what became of a file: "created", "completed", "refused", "swept"
// or "ungranted", because a message never came. What is done by two calls at once may be counted twice.
func (m *metrics) count(outcome string) { m.files.WithLabelValues(outcome).Inc() }
