package e2e

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/imtest"
)

// oneProcess runs all parts in this process and returns the public URL.
func oneProcess(t *testing.T, tracer trace.Tracer, more ...string) string {
	t.Helper()
	vars := system.Settings(t, strings.Join(imtest.Kafka(t), ","), imtest.Postgres(t), imtest.Redis(t))
	vars["GATEWAY_ADDR"], vars["GATEWAY_INTERNAL_ADDR"] = "127.0.0.1:0", "127.0.0.1:0"
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	system.Prepare(t, vars)

	env := imtest.Env(t, vars)
	env.Tracer = tracer
	mount(t, env, vars)

	gatewayEnv, relayEnv := imtest.Env(t, vars), imtest.Env(t, vars)
	gatewayEnv.Tracer, relayEnv.Tracer = tracer, tracer
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	gw, err := server.Open(ctx, gatewayEnv)
	if err != nil {
		stop()
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
	return gw.URL
}
