package fn

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/shared/event"
)

var w3c propagation.TraceContext

// TraceParent returns the span of ctx as a traceparent (W3C Trace Context),
// or "" if there is none.
func TraceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	w3c.Inject(ctx, c)
	return c["traceparent"]
}

// WithTraceParent returns ctx in the span that traceparent names.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return w3c.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// Sampled reports whether the trace of a traceparent is being recorded.
func Sampled(traceparent string) bool { return strings.HasSuffix(traceparent, "-01") }

// trace begins a span for each event whose trace is recorded and makes it the
// event's own, so that what the handler sends on continues from it. The spans
// end with what it returns. The context it returns is in the span of the first.
func (s *server) trace(ctx context.Context, events []event.Event) (context.Context, func([]reply)) {
	first := ctx
	var spans []trace.Span
	for i := range events {
		e := &events[i]
		if !Sampled(e.TraceParent) {
			continue
		}
		in, span := s.env.Tracer.Start(WithTraceParent(ctx, e.TraceParent), s.Name, trace.WithSpanKind(trace.SpanKindConsumer))
		e.TraceParent = TraceParent(in)
		if spans == nil {
			first, spans = in, make([]trace.Span, len(events))
		}
		spans[i] = span
	}
	return first, func(replies []reply) {
		for i, span := range spans {
			if span == nil {
				continue
			}
			if replies[i].err != nil {
				span.SetStatus(codes.Error, replies[i].err.Error())
			}
			span.End()
		}
	}
}
