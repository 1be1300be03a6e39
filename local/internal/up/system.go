package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/connector/relay"
	"github.com/tidings-im/tidings/functions"
	"github.com/tidings-im/tidings/gateway/server"
	"github.com/tidings-im/tidings/local/internal/embedded"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/s3"
)

// A system is Tidings as it runs in this process.
type system struct {
	home *home
	opt  options
	log  *slog.Logger
	out  io.Writer // for people

	services []started // in the order of services
	apart    *apart
	vars     map[string]string // settings of all parts, before the environment's
	failed   chan error        // the first part that ended by itself

	neighbours *fn.Neighbourhood // all parts

	mu    sync.Mutex
	stops []func() error // what was started last is last
}

// A service is something of which a URL is needed.
type service struct {
	name    string // for people, and of its folder
	setting string // of the URL
	start   func(context.Context, embedded.Config) (*embedded.Server, error)
}

var services = []service{
	{"postgresql", "POSTGRES_URL", embedded.Postgres},
	{"kafka", "KAFKA_BROKERS", embedded.Kafka},
	{"redis", "REDIS_URL", embedded.Redis},
	{"s3", "S3_URL", laterS3},
	{"mail", "SMTP_URL", embedded.Mail},
}

// started is a service that is there. server is nil if the environment names it.
type started struct {
	service
	server *embedded.Server
}

// start starts everything, and returns when all of it answers.
func (s *system) start(ctx context.Context) error {
	ports, err := s.home.ports(s.opt.addr, "postgresql", "kafka", "redis", "s3", "mail", "functions", "gateway")
	if err != nil {
		return err
	}
	if s.vars, err = s.home.secrets(); err != nil {
		return err
	}
	if given("SEAL_KEYS") {
		delete(s.vars, "SEAL_KEYS")
	}
	if given("TOKEN_PRIVATE_KEY") || given("TOKEN_PUBLIC_KEYS") { // they belong together
		delete(s.vars, "TOKEN_PRIVATE_KEY")
		delete(s.vars, "TOKEN_PUBLIC_KEYS")
	}
	if given("VAPID_PRIVATE_KEY") || given("VAPID_PUBLIC_KEY") { // so do these
		delete(s.vars, "VAPID_PRIVATE_KEY")
		delete(s.vars, "VAPID_PUBLIC_KEY")
	}
	if err := s.startServices(ctx, ports); err != nil {
		return err
	}
	if s.apart, err = s.newApart(); err != nil {
		return err
	}
	if !given("INBOX_STORE") && !given("MONGODB_URL") {
		s.vars["INBOX_STORE"] = "postgres"
	}
	functionsAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports["functions"]))
	internalAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports["gateway"]))
	maps.Copy(s.vars, map[string]string{
		"FUNCTION_URL":          "http://" + functionsAddr + "/{function}",
		"GATEWAY_ADDR":          s.opt.addr,
		"GATEWAY_INTERNAL_ADDR": internalAddr,
		"GATEWAY_INTERNAL_URL":  "http://" + internalAddr,
		"METRICS_ADDR":          "", // all parts would want it
	})

	// Nobody balances load over this one gateway, and nobody is far away.
	for k, v := range map[string]string{"DRAIN": "1ms", "DRAIN_SPREAD": "100ms", "CONNECTOR_TIMERS": fn.Timers(functions.All, mostEvery)} {
		if !given(k) {
			s.vars[k] = v
		}
	}

	if err := s.startFunctions(ctx, functionsAddr); err != nil {
		return fmt.Errorf("starting the functions: %w", err)
	}
	connectorEnv := s.env("connector")
	s.part("connector", func(ctx context.Context) error { return relay.Run(ctx, connectorEnv) })
	gatewayEnv := s.env("gateway")
	gateway, err := server.Open(context.WithoutCancel(ctx), gatewayEnv)
	if err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	s.part("gateway", gateway.Serve)
	if err := s.answers(ctx, gateway.URL+"/readyz"); err != nil {
		return err
	}
	s.startApart()
	return nil
}

// mostEvery is how long somebody who tries something waits for the clock.
const mostEvery = 10 * time.Second

// given reports whether the environment has a setting.
func given(setting string) bool {
	return os.Getenv(setting) != "" || os.Getenv(setting+"_FILE") != ""
}

// startFunctions prepares tables and topics, and the bucket of a store that the
// environment names, and serves all functions at addr. Those that run apart are
// handed what they are called with.
func (s *system) startFunctions(ctx context.Context, addr string) error {
	env := s.env("functions")
	prepare, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	g, prepare := errgroup.WithContext(prepare)
	g.Go(func() error { return postgres.Migrate(prepare, env) })
	g.Go(func() error { return kafka.EnsureTopics(prepare, env) })
	if given("S3_URL") {
		g.Go(func() error { return s3.EnsureBucket(prepare, env) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("preparing tables, topics and the bucket: %w", err)
	}
	var here []fn.Func
	for _, f := range functions.All {
		if !slices.Contains(apartFunctions, f.Name) {
			here = append(here, f)
		}
	}
	handler, err := fn.Mount(context.WithoutCancel(ctx), env, here...)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	for _, name := range apartFunctions {
		mux.Handle("/"+name, s.apart)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.part("functions", func(ctx context.Context) error { return env.Serve(ctx, ln, mux) })
	return nil
}

// startServices starts what the environment does not name, all at once.
func (s *system) startServices(ctx context.Context, ports map[string]int) error {
	s.services = make([]started, len(services))
	var g errgroup.Group
	for i, svc := range services {
		s.services[i].service = svc
		if given(svc.setting) {
			continue
		}
		g.Go(func() error {
			server, err := svc.start(ctx, embedded.Config{
				Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[svc.name])),
				Dir:  s.home.path(svc.name),
				Sync: s.opt.fsync || svc.name == "postgresql",
				Log:  s.log,

				Progress: s.out,
			})
			if err != nil {
				return err
			}
			s.services[i].server = server
			s.onStop(server.Close)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, svc := range s.services {
		if svc.server == nil {
			continue
		}
		s.vars[svc.setting] = svc.server.URL
		go func() {
			if ended := svc.server.Done(); ended != nil {
				<-ended
				s.fail(svc.server.Err())
			}
		}()
	}
	return nil
}

// env returns the settings of a part: ours, and else those of the environment.
// It is closed when the system stops, after the part.
func (s *system) env(part string) *proc.Env {
	env := proc.NewEnv(func(k string) string {
		if v, ok := s.vars[k]; ok {
			return v
		}
		return os.Getenv(k)
	}, s.log.With("part", part))
	s.onStop(env.Close)
	if err := fn.Join(env, s.neighbours); err != nil { // of an Env that is new: it cannot be
		s.fail(err)
	}
	return env
}

// part runs a part until the system stops. It is stopped, and waited for,
// before what was started earlier.
func (s *system) part(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			s.fail(fmt.Errorf("the %s ended: %w", name, err))
		}
		ended <- err
	}()
	s.onStop(func() error {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("stopping the %s: %w", name, err)
		}
		return nil
	})
}

func (s *system) fail(err error) {
	select {
	case s.failed <- err:
	default: // it is not the first
	}
}

func (s *system) onStop(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, f)
}

// stop stops what was started, last first.
func (s *system) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	s.stops = nil
	return errors.Join(errs...)
}

// answers waits until url answers 200.
func (s *system) answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 10 * time.Second}
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answers %s", url, resp.Status)
		}
		last = err
		select {
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the gateway did not get ready: %w", last)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
