package e2e

import (
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/imtest"
)

// One trace spans a message's way from the socket it came in by, through Kafka
// and the inbox, to the socket it goes out by.
func TestOneTraceSpansTheWayOfAMessage(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.AlwaysSample())).Tracer("e2e")

	url := system.OneProcess(t, tracer)
	d := &door{t, url}
	ann, bob := d.signUp("ann").on("phone"), d.signUp("bob").on("phone")
	if _, err := ann.client.Send(t.Context(), "u:"+bob.ID, "hello"); err != nil {
		t.Fatal(err)
	}
	bob.hears("it", said("hello"))

	want := []string{"chat-ingest", "persist-history", "persist-inbox", "push-fanout"}
	imtest.Until(t, "one trace has every part in it", func() bool {
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
				return true
			}
		}
		return false
	})
}
