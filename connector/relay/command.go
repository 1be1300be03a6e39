package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/proc"
)

var settingAddr = proc.Setting{Name: "CONNECTOR_ADDR", Default: ":8080", Doc: "address on which the connector answers /healthz and /readyz, and /metrics unless METRICS_ADDR is set"}

const usage = `usage:
  tidings connector                    hand the events of Kafka topics to functions
  tidings connector replay [flags]     hand dead letters to the functions they failed in
                               (tidings connector replay -h lists the flags)
`

// Command returns what the program does that is called with args.
func Command(args []string, out io.Writer) func(context.Context, *proc.Env) error {
	return func(ctx context.Context, env *proc.Env) error {
		switch {
		case len(args) == 0:
			return serve(ctx, env)
		case args[0] == "replay":
			return replay(ctx, env, args[1:], out)
		}
		fmt.Fprint(out, usage)
		if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
			return nil
		}
		return fmt.Errorf("there is no command %q", args[0])
	}
}

// serve relays, and says over HTTP how it fares.
func serve(ctx context.Context, env *proc.Env) error {
	r, err := open(ctx, env)
	if err != nil {
		return err
	}
	set := env.Settings()
	addr := set.String(settingAddr)
	separate, err := env.ServeMetrics(ctx)
	if err = errors.Join(set.Err(), err); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	env.Log.Info("serving", "address", ln.Addr().String())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return env.Serve(ctx, ln, r.health(!separate)) })
	g.Go(func() error { return r.run(ctx) })
	return g.Wait()
}

// health says whether the process lives, and whether it is at work.
func (r *Relay) health(metrics bool) http.Handler {
	mux := http.NewServeMux()
	healthy := func(http.ResponseWriter, *http.Request) {}
	ready := func(w http.ResponseWriter, _ *http.Request) {
		err := r.ready()
		if r.env.Draining() {
			err = errors.New("stopping")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /_/health", healthy)
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /_/ready", ready)
	if metrics {
		mux.Handle("GET /metrics", r.env.MetricsHandler())
	}
	return mux
}
