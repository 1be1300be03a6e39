package system

import (
	"context"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
)

// OneProcess runs all parts in this process and returns the public URL.
func OneProcess(t *testing.T, tracer trace.Tracer, more ...string) string {
	t.Helper()
	vars := Settings(t, Brokers(t), Database(t), imtest.Redis(t))
	vars["GATEWAY_ADDR"], vars["GATEWAY_INTERNAL_ADDR"] = "127.0.0.1:0", "127.0.0.1:0"
	for i := 0; i < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	Prepare(t, vars)

	// As in `tidings all`, parts hand each other events; e2e/faults has them by HTTP.
	neighbours := fn.NewNeighbourhood()
	part := func() *proc.Env {
		env := imtest.Env(t, vars)
		env.Tracer = tracer
		if err := fn.Join(env, neighbours); err != nil {
			t.Fatal(err)
		}
		return env
	}
	Mount(t, part(), vars)
	gatewayEnv, relayEnv := part(), part()
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

// Mount serves all functions at one URL, which they know as the one where
// functions are, and returns it.
func Mount(t *testing.T, env *proc.Env, vars map[string]string) (url string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	vars["FUNCTION_URL"] = "http://" + srv.Listener.Addr().String() + "/{function}"
	h, err := fn.Mount(t.Context(), env, functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = h
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}
