// Package server is a gateway: the public port with /ws and /v1, the internal
// port that takes pushes, and the order in which they start and stop.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/gateway/api"
	"github.com/tidings-im/tidings/gateway/ws"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
	"github.com/tidings-im/tidings/shared/retry"
	"github.com/tidings-im/tidings/shared/token"
)

// Run is a gateway, until ctx is done and its connections are closed.
func Run(ctx context.Context, env *proc.Env) error {
	s, err := Open(ctx, env)
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// A Server is a gateway that listens already.
type Server struct {
	URL         string // of the public port
	InternalURL string // at which the other parts reach this gateway

	id       string
	env      *proc.Env
	settings settings
	ring     *event.Keyring
	verifier *token.Verifier
	redis    *redis.Client
	hub      *ws.Hub
	public   endpoint
	internal endpoint
}

type endpoint struct {
	net.Listener
	http.Handler
}

// Open builds a gateway and begins to listen.
func Open(ctx context.Context, env *proc.Env) (*Server, error) {
	set, err := readSettings(env)
	if err != nil {
		return nil, err
	}
	ring, err := fn.Keyring(env)
	if err != nil {
		return nil, err
	}
	verifier, err := token.OpenVerifier(env)
	if err != nil {
		return nil, err
	}
	client, err := redis.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	presence, err := client.NewPresence(env, set.lease)
	if err != nil {
		return nil, err
	}
	metrics, err := proc.Share(env, "ws.Metrics", func() (*ws.Metrics, func() error, error) {
		return ws.NewMetrics(env.Metrics), nil, nil
	})
	if err != nil {
		return nil, err
	}
	toParts, err := fn.OpenPoster(env, set.timeout)
	if err != nil {
		return nil, err
	}
	s := &Server{id: im.NewID(), env: env, settings: set, ring: ring, verifier: verifier, redis: client}
	post := &poster{Poster: toParts, functions: set.functions, ring: ring, source: "gateway/" + s.id, gateways: client.NewGateways(env)}
	s.hub = ws.New(ws.Config{
		Gateway: s.id, Log: env.Log, Tracer: env.Tracer, Metrics: metrics, Ring: ring,
		Verifier: verifier, Presence: presence, Sessions: client, Heads: heads{client, post},
		Submit: post.ask("chat-ingest"), Signal: post.tell("push-signal"), Present: post.tell("push-presence"), Evict: post.toGateway,
		Origins: set.origins, Limits: set.limits,
	})
	return s, s.listen(ctx)
}

func (s *Server) listen(ctx context.Context) error {
	public, err := s.publicHandler()
	if err != nil {
		return err
	}
	internal, err := fn.Mount(ctx, s.env, fn.Func{
		Name: "push", Accepts: event.Push, Also: []string{event.SessionEnded},
		New: func(context.Context, *proc.Env) (fn.Handler, error) { return fn.On(s.hub.Receive), nil },
	})
	if err != nil {
		return err
	}
	s.public.Handler, s.internal.Handler = public, internal
	if s.public.Listener, err = net.Listen("tcp", s.settings.addr); err != nil {
		return fmt.Errorf("listening at GATEWAY_ADDR: %w", err)
	}
	if s.internal.Listener, err = net.Listen("tcp", s.settings.internalAddr); err != nil {
		s.public.Close()
		return fmt.Errorf("listening at GATEWAY_INTERNAL_ADDR: %w", err)
	}
	s.URL = "http://" + reachable(s.public.Addr())
	if s.InternalURL = s.settings.internalURL; s.InternalURL == "" {
		s.InternalURL = "http://" + reachable(s.internal.Addr())
	}
	neighbours, err := fn.NeighboursOf(s.env)
	if err != nil {
		return err
	}
	neighbours.Serves(s.InternalURL+"/push", "push") // where the registry will say that it is
	return nil
}

// publicHandler returns what the world may call.
func (s *Server) publicHandler() (http.Handler, error) {
	metrics, err := proc.Share(s.env, "api.Metrics", func() (*api.Metrics, func() error, error) {
		return api.NewMetrics(s.env.Metrics), nil, nil
	})
	if err != nil {
		return nil, err
	}
	memory, err := s.env.Budgets()
	if err != nil {
		return nil, err
	}
	foreign, err := fn.OpenForeignAnswers(s.env)
	if err != nil {
		return nil, err
	}
	calls, err := api.New(api.Config{
		Memory:    memory,
		Limits:    s.settings.calls,
		Verify:    s.verifier.Verify,
		Spec:      tidings.OpenAPI,
		Async:     tidings.AsyncAPI,
		Functions: s.settings.functions,
		Client:    fn.NewHTTPClient(s.settings.timeout),
		Ring:      s.ring,
		Forwarded: s.settings.forwarded,
		Origins:   s.settings.origins,
		Log:       s.env.Log,
		Tracer:    s.env.Tracer,
		Metrics:   metrics,
		Foreign:   foreign,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", s.hub)
	mux.Handle("/", calls)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.env.Draining() {
			fn.WriteProblem(w, http.StatusServiceUnavailable, im.Errorf(im.Unavailable, "this gateway is going away"))
		}
	})
	return timed(mux), nil
}

// timed bounds reading a request and writing its answer. Connections that are
// hijacked lose these deadlines.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, now := http.NewResponseController(w), time.Now()
		c.SetReadDeadline(now.Add(readTime))
		c.SetWriteDeadline(now.Add(writeTime))
		next.ServeHTTP(w, r)
	})
}

// Serve serves until ctx is done, and then lets the connections go: first it
// says that it is not ready, so that balancers send nobody else; then it closes
// its connections; then it stops listening.
func (s *Server) Serve(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var parts errgroup.Group
	part := func(f func(context.Context) error) {
		parts.Go(func() error {
			defer stop() // the gateway is all of its parts or none
			return f(life)
		})
	}
	part(func(ctx context.Context) error { return s.env.Serve(ctx, s.internal, s.internal.Handler) })
	part(func(ctx context.Context) error {
		return s.env.ServeFrom(ctx, s.public, s.public.Handler, s.settings.places())
	})
	part(func(ctx context.Context) error { s.hub.Run(ctx); return nil })
	part(func(ctx context.Context) error { s.register(ctx); return nil })
	s.env.Log.Info("serving", "address", s.URL, "internal", s.InternalURL, "gateway", s.id)

	var drained error
	select {
	case <-ctx.Done():
		drained = s.drain(life)
	case <-life.Done():
	}
	stop()
	return errors.Join(drained, parts.Wait())
}

// How long a client may take over a request and over its answer.
const (
	readTime  = 30 * time.Second
	writeTime = time.Minute
)

// stopTime is what is left of proc.Grace for stopping after the connections
// are closed.
const stopTime = 3 * time.Second

func (s *Server) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, proc.Grace-stopTime)
	defer cancel()
	s.env.Drain()
	select {
	case <-time.After(s.settings.drain):
	case <-ctx.Done():
	}
	return s.hub.Drain(ctx)
}

// register keeps this gateway in the registry until ctx is done.
func (s *Server) register(ctx context.Context) {
	const attempt = time.Second
	for {
		wait := s.settings.lease / 3
		call, cancel := context.WithTimeout(ctx, attempt)
		err := s.redis.RegisterGateway(call, s.id, s.InternalURL, s.settings.lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.env.Log.Warn("registering the gateway", "gateway", s.id, "err", err)
			wait = min(wait, attempt)
		}
		if retry.Sleep(ctx, wait) != nil {
			break
		}
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), attempt)
	defer cancel()
	if err := s.redis.DeregisterGateway(call, s.id); err != nil {
		s.env.Log.Info("deregistering the gateway", "gateway", s.id, "err", err) // its lease ends
	}
}

// reachable returns an address at which other machines reach one that this
// machine listens at: as it is, unless it is of all interfaces.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	host := "127.0.0.1"
	addrs, _ := net.InterfaceAddrs() // without any, this machine is alone
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			host = n.IP.String()
			break
		}
	}
	return net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}
