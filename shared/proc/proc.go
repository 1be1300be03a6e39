// Package proc is the life of a process: its configuration, its logger, its
// metrics and traces, the clients it holds, and how it starts and stops. It
// knows nothing of messages, nor of any product the process talks to.
package proc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Grace is how long a stopping process may take to finish what is in flight.
const Grace = 20 * time.Second

// Env is what the parts of a process are built from. It is safe for
// concurrent use.
type Env struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Tracer  trace.Tracer

	getenv   func(string) string
	gatherer prometheus.Gatherer
	group    int64 // bytes that the control group allows; 0 is unknown
	draining atomic.Bool
	defaults map[string]string // of settings that the environment does not have

	mu      sync.Mutex
	shared  map[string]any
	closers []func() error

	record record
}

// NewEnv returns an Env that reads its settings with getenv, has a registry of
// metrics of its own and traces nothing.
func NewEnv(getenv func(string) string, log *slog.Logger) *Env {
	reg := prometheus.NewRegistry()
	return &Env{
		Log:      log,
		Metrics:  reg,
		Tracer:   noop.NewTracerProvider().Tracer(""),
		getenv:   getenv,
		gatherer: reg,
		shared:   make(map[string]any),
	}
}

// Default says what settings are that the environment does not have. It is to be
// called before anything reads them.
func (e *Env) Default(settings map[string]string) { e.defaults = settings }

// Share returns the process's one value for key, making it the first time, so
// that many functions in a process hold one pool between them. open returns
// the value and what closes it when the process ends, which may be nil.
func Share[T any](e *Env, key string, open func() (T, func() error, error)) (T, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v, ok := e.shared[key]; ok {
		return v.(T), nil
	}
	v, closer, err := open()
	if err != nil {
		return v, err
	}
	e.shared[key] = v
	if closer != nil {
		e.closers = append(e.closers, closer)
	}
	return v, nil
}

// OnClose adds what is to be done when the process ends; what was added last
// is done first.
func (e *Env) OnClose(f func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closers = append(e.closers, f)
}

// Close closes what was opened, last first.
func (e *Env) Close() error {
	e.mu.Lock()
	closers := e.closers
	e.closers = nil
	e.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}

// Draining reports whether the process has been told to stop: it finishes what
// it has and asks for no more.
func (e *Env) Draining() bool { return e.draining.Load() }

// Drain makes Draining true.
func (e *Env) Drain() { e.draining.Store(true) }

// Main runs a program until it ends or the process is told to stop by SIGINT
// or SIGTERM, and exits with status 1 if it failed.
func Main(name string, run func(context.Context, *Env) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	log := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("program", name)
	env := NewEnv(os.Getenv, log)
	if r, ok := env.Metrics.(*prometheus.Registry); ok {
		r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if env.group = memoryLimit(cgroups, "/proc/self/cgroup"); env.group > 0 {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "tidings_memory_limit_bytes", Help: "Memory that the process's control group may use; absent if that is not limited.",
			}, func() float64 { return float64(env.group) }))
		}
	}
	err := errors.Join(env.keepMemory(), env.startTracing(ctx, name))
	if err == nil {
		err = run(ctx, env)
	}
	err = errors.Join(err, env.Close())
	if err != nil {
		log.Error("stopped", "err", err)
		os.Exit(1)
	}
	log.Info("stopped")
}

// Serve answers HTTP/1.1 on ln until ctx is done, then lets what is in flight
// end, for Grace at most.
func (e *Env) Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	return e.ServeFrom(ctx, ln, h, nil)
}

// ServeFrom serves likewise those who may mean it harm: nobody takes all
// connections from others. places returns by what those of an address are
// counted, the narrowest first.
func (e *Env) ServeFrom(ctx context.Context, ln net.Listener, h http.Handler, places func(net.Addr) []string) error {
	limit, err := e.Memory()
	if err != nil {
		return err
	}
	held := newConns(connsOf(limit), places)
	srv := &http.Server{
		Handler:           h,
		ConnState:         held.state,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute, // from when the header is read, unless a handler says otherwise
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(e.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		e.Drain()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), Grace)
		defer cancel()
		err := srv.Shutdown(grace)
		if err != nil {
			err = errors.Join(fmt.Errorf("requests were cut off after %s: %w", Grace, err), srv.Close())
		}
		stopped <- err
	})
	err = srv.Serve(ln)
	if stop() { // ctx is not done: the listener failed
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	}
	return <-stopped
}
