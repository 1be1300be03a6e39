package e2e

import (
	"context"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
)

// One trace spans a message's way from the socket it came in by, through Kafka
// and the inbox, to the socket it goes out by.
func TestOneTraceSpansTheWayOfAMessage(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.AlwaysSample())).Tracer("e2e")

	vars := settings(t, strings.Join(imtest.Kafka(t), ","), imtest.Postgres(t), imtest.Redis(t))
	vars["GATEWAY_ADDR"], vars["GATEWAY_INTERNAL_ADDR"] = "127.0.0.1:0", "127.0.0.1:0"
	prepare(t, vars)

	env := imtest.Env(t, vars)
	env.Tracer = tracer
	h, err := fn.Mount(t.Context(), env, functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)

	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	of := func() map[string]string {
		own := maps.Clone(vars)
		own["FUNCTION_URL"] = srv.URL + "/{function}"
		return own
	}
	gatewayEnv, relayEnv := imtest.Env(t, of()), imtest.Env(t, of())
	gatewayEnv.Tracer, relayEnv.Tracer = tracer, tracer
	gw, err := server.Open(ctx, gatewayEnv)
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- gw.Serve(ctx) }()
	go func() { ended <- relay.Run(ctx, relayEnv) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})

	ann, bob := join(t, gw.URL, "ann"), join(t, gw.URL, "bob")
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
