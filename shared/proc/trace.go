//go:build !tidings_small

package proc

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// startTracing sets e.Tracer to one that exports, if an endpoint is set.
func (e *Env) startTracing(ctx context.Context, service string) error {
	set := e.Settings()
	endpoint, ratio := set.String(settingOTLP), set.Float(settingSample)
	if err := set.Err(); err != nil || endpoint == "" {
		return err
	}
	exp, err := otlptracehttp.New(ctx) // reads the OTEL_ variables itself
	if err != nil {
		return fmt.Errorf("exporting traces: %w", err)
	}
	tp := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exp),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	)
	e.Tracer = tp.Tracer("github.com/tidings-im/tidings")
	e.OnClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return tp.Shutdown(ctx)
	})
	return nil
}
