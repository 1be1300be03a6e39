package proc

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var (
	settingMetrics = Setting{Name: "METRICS_ADDR", Doc: "address that serves Prometheus metrics at /metrics, such as :9090; unset, a function serves them on its own port"}
	settingOTLP    = Setting{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Doc: "URL of an OpenTelemetry collector (OTLP over HTTP); unset, nothing is traced"}
	settingSample  = Setting{Name: "TRACE_RATIO", Default: "0.01", Doc: "share of new traces that are sampled, 0 to 1; a trace that came with a request keeps its own"}
)

// MetricsHandler returns what serves the metrics of the process.
func (e *Env) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(e.gatherer, promhttp.HandlerOpts{})
}

// ServeMetrics serves metrics at METRICS_ADDR until ctx is done, which the first
// part of a process that asks for it decides. It reports whether the address is
// set, and does not wait.
func (e *Env) ServeMetrics(ctx context.Context) (bool, error) {
	return Share(e, "proc.ServeMetrics", func() (bool, func() error, error) {
		separate, err := e.serveMetrics(ctx)
		return separate, nil, err
	})
}

func (e *Env) serveMetrics(ctx context.Context) (bool, error) {
	set := e.Settings()
	addr := set.String(settingMetrics)
	if addr == "" {
		return false, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false, fmt.Errorf("serving metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.MetricsHandler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln) // ends with Close below; its error says no more than that
	context.AfterFunc(ctx, func() { srv.Close() })
	return true, nil
}
