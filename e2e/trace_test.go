package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// One trace spans a message's way from the socket it came in by, through Kafka
// and the inbox, to the socket it goes out by.
func TestOneTraceSpansTheWayOfAMessage(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.AlwaysSample())).Tracer("e2e")

	url := oneProcess(t, tracer)
	ann, bob := join(t, url, "ann"), join(t, url, "bob")
	if _, err := ann.client.Send(t.Context(), "u:"+bob.user.ID, "hello"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the message arrives", func() error {
		if bob.count() != 1 {
			return errNotYet
		}
		return nil
	})

	want := []string{"chat-ingest", "persist-history", "persist-inbox", "push-fanout"}
	eventually(t, 10*time.Second, "one trace has every part in it", func() error {
		traces := make(map[string][]string)
		for _, s := range spans.GetSpans() {
			id := s.SpanContext.TraceID().String()
			traces[id] = append(traces[id], s.Name)
		}
		for _, names := range traces {
			missing := slices.ContainsFunc(want, func(n string) bool { return !slices.Contains(names, n) })
			// Before them the socket it came in by, after them the one it went out by.
			if !missing && len(names) >= len(want)+2 {
				t.Logf("one trace: %s", strings.Join(names, ", "))
				return nil
			}
		}
		return errNotYet
	})
}
