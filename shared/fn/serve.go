package fn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/audit"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingPort     = proc.Setting{Name: "PORT", Default: "8080", Doc: "port on which a function listens"}
	settingTimeout  = proc.Setting{Name: "FUNCTION_TIMEOUT", Default: "10s", Doc: "how long a function may take over a request before it gives up (503)"}
	settingBody     = proc.Setting{Name: "FUNCTION_MAX_BODY", Default: "4194304", Doc: "most bytes in the body of a request to a function"}
	settingInFlight = proc.Setting{Name: "FUNCTION_MAX_IN_FLIGHT", Default: "256", Doc: "most requests a function handles at a time; more are told to come again (429)"}
	settingSeals    = proc.Setting{Name: "SEAL_KEYS", Need: true, Secret: true, Doc: "keys that seal events between the parts, <id>:<base64 of at least 32 bytes>, separated by commas; the first seals, all are believed"}
)

// Keyring returns the seal keys of the process.
func Keyring(env *proc.Env) (*event.Keyring, error) {
	return proc.Share(env, "fn.Keyring", func() (*event.Keyring, func() error, error) {
		set := env.Settings()
		keys := set.String(settingSeals)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		ring, err := event.ParseKeyring(keys)
		if err != nil {
			return nil, nil, fmt.Errorf("reading SEAL_KEYS: %w", err)
		}
		return ring, nil, nil
	})
}

// Serve answers calls of the functions at PORT until ctx is done. One function
// answers at /, too.
func Serve(ctx context.Context, env *proc.Env, funcs ...Func) error {
	set := env.Settings()
	port := set.Int(settingPort, 0)
	if err := set.Err(); err != nil {
		return err
	}
	h, err := Mount(ctx, env, funcs...)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	env.Log.Info("serving", "address", ln.Addr().String())
	return env.Serve(ctx, ln, h)
}

// Mount builds the functions and returns them behind one http.Handler, with
// health, readiness and metrics. ctx is the life of the process.
func Mount(ctx context.Context, env *proc.Env, funcs ...Func) (http.Handler, error) {
	set := env.Settings()
	limits := limits{
		timeout:  set.Duration(settingTimeout),
		body:     int64(set.Int(settingBody, 1)),
		inFlight: set.Int(settingInFlight, 1),
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	memory, err := openMemory(env)
	if err != nil {
		return nil, err
	}
	if most := memory.Bodies.Size() / bodyCost; limits.body > most {
		return nil, fmt.Errorf("setting FUNCTION_MAX_BODY: of the memory that the process may use, %d bytes are the most for a body: lower it, or raise the limit of memory", most)
	}
	m, err := proc.Share(env, "fn.metrics", func() (*metrics, func() error, error) { return newMetrics(env), nil, nil })
	if err != nil {
		return nil, err
	}
	neighbours, err := NeighboursOf(env)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, f := range funcs {
		s, err := newServer(ctx, env, f, limits, memory, m)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", f.Name, err)
		}
		mux.Handle("/"+f.Name, s)
		neighbours.add(s)
		if len(funcs) == 1 {
			mux.Handle("/{$}", s)
		}
	}
	healthy := func(http.ResponseWriter, *http.Request) {}
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if env.Draining() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
		}
	}
	mux.HandleFunc("GET /_/health", healthy)
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /_/ready", ready)
	mux.HandleFunc("GET /readyz", ready)
	separate, err := env.ServeMetrics(ctx)
	if err != nil {
		return nil, err
	}
	if !separate {
		mux.Handle("GET /metrics", env.MetricsHandler())
	}
	return mux, nil
}

type limits struct {
	timeout  time.Duration
	body     int64 // bytes
	inFlight int
}

type metrics struct {
	events      *prometheus.CounterVec
	unavailable *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newMetrics(env *proc.Env) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_function_events_total", Help: "Events handled, by function and the status each was answered with.",
		}, []string{"function", "status"}),
		unavailable: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_function_unavailable_total", Help: "Events answered with 503 because a dependency does not answer, by function and dependency.",
		}, []string{"function", "dependency"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidings_function_request_seconds", Help: "How long requests took, by function; a batch is one request.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"function"}),
	}
	env.Metrics.MustRegister(m.events, m.unavailable, m.seconds)
	return m
}

// server is one function behind HTTP.
type server struct {
	Func
	Handler
	limits
	env      *proc.Env
	ring     *event.Keyring // nil if seals do not matter
	slots    chan struct{}
	memory   *memory
	ticking  sync.Mutex // held while a timed function runs
	next     sync.Mutex // held by the request that waits for ticking
	metrics  *metrics
	observer prometheus.Observer
	audit    *audit.Recorder
	fresh    time.Duration // for how long callers are believed what Proof asks for
}

func newServer(ctx context.Context, env *proc.Env, f Func, l limits, mem *memory, m *metrics) (*server, error) {
	h, err := f.New(ctx, env)
	if err != nil {
		return nil, err
	}
	s := &server{Func: f, Handler: h, limits: l, env: env, memory: mem, metrics: m,
		slots: make(chan struct{}, l.inFlight), observer: m.seconds.WithLabelValues(f.Name)}
	if err := declared(f, h); err != nil {
		return nil, err
	}
	if s.audit, err = audit.Open(ctx, env, f.Audit != ""); err != nil {
		return nil, err
	}
	if f.Proof.asks() {
		if s.fresh, err = FreshFor(env); err != nil {
			return nil, err
		}
	}
	if h.sealed || h.vouched || h.gate != nil {
		if s.ring, err = Keyring(env); err != nil {
			return nil, err
		}
	}
	if h.open != nil {
		if s.verify, err = h.open(env); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// declared reports what a function and its handler contradict each other in.
func declared(f Func, h Handler) error {
	switch {
	case h.handle == nil && h.timed == nil:
		return errors.New("its handler handles nothing")
	case h.open != nil && h.gate == nil:
		return errors.New("its callers pass no gate")
	case h.open == nil && f.Proof.asks():
		return errors.New("it asks its callers for a proof and does not know who they are")
	case h.timed != nil && (f.Public || f.Accepts != "" || f.Topic != ""):
		return errors.New("it is called by a clock: it is not public and takes no events")
	case (h.timed != nil) != (f.Every > 0):
		return errors.New("a function is timed if, and only if, it says how often")
	}
	return nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	BoundUnread(w, r)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.refusal(r, http.StatusMethodNotAllowed, im.Errorf(im.Invalid, "a function is called by POST")).write(w)
		return
	}
	if s.timed != nil {
		s.tick(w, r)
		return
	}
	start := time.Now()
	defer func() { s.observer.Observe(time.Since(start).Seconds()) }()
	var lent lent
	defer lent.end()
	s.respond(w, r, start, &lent).write(w)
}

// respond makes an answer. When it returns, nothing of the request is held but
// the answer, and what is lent for that: who reads it slowly keeps no slot from
// others.
func (s *server) respond(w http.ResponseWriter, r *http.Request, start time.Time, lent *lent) (a outcome) {
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	// Before anything of the body is read: who has no token cannot make anybody
	// hold it. Of somebody known who may not, the security log says what it was.
	caller, denied := s.caller(r)
	if denied != nil && caller.User == "" {
		return s.refusal(r, s.statusOf(denied), denied)
	}
	// Without a slot and not for ever: anybody who reaches the port may begin
	// a request, and who sends it slowly keeps no slot from others.
	c := http.NewResponseController(w)
	c.SetReadDeadline(start.Add(s.timeout)) // only what is no network connection has none
	limit, budget := s.limits.body, s.memory.Bodies
	if !s.sealed && caller.User == "" {
		limit, budget = min(limit, maxCall), s.memory.strangers
	}
	body := NewLentReader(http.MaxBytesReader(w, r.Body, limit), budget, bodyCost)
	defer body.Close()
	events, batch, err := s.read(r, body)
	switch {
	case isFull(err):
		return s.refusal(r, http.StatusTooManyRequests, err)
	case err != nil:
		// What is no event can be none of a call either.
		s.record(ctx, caller, new(event.Event), reply{err: err})
		return s.refusal(r, deliveryStatus(im.KindOf(err)), err)
	}
	c.SetReadDeadline(time.Time{})
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return s.refusal(r, http.StatusTooManyRequests, errNoSlot)
	}
	if s.Public || s.Memory > 0 {
		if err := s.lend(ctx, caller, len(events), lent); err != nil {
			return s.refusal(r, s.statusOf(err), err)
		}
		defer func() { lent.work.keep(int64(len(a.body))) }()
	}
	results := s.run(ctx, r, caller, denied, events)
	if batch {
		return s.answerBatch(r, events, results)
	}
	return s.answer(r, results[0])
}

// read returns the events of a request, whose body is read from, and whether
// they came as a batch.
func (s *server) read(r *http.Request, from io.Reader) (events []event.Event, batch bool, err error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return nil, false, im.Errorf(im.Unsupported, "the content type of the request cannot be read")
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return nil, false, im.Errorf(im.Unsupported, "the request is written in %.20q: use utf-8", cs)
	}
	binary := r.Header.Get("Ce-Id") != "" || r.Header.Get("Ce-Specversion") != "" || r.Header.Get("Ce-Type") != ""
	switch {
	case media == event.Batch:
		err := s.body(r, from, func(b []byte) (err error) { events, err = event.ParseBatch(b); return err })
		return events, true, err
	case media == event.Structured, binary && (media == event.JSON || media == ""):
		e, err := s.readEvent(r, from)
		return []event.Event{e}, false, err
	case media == event.JSON:
		if err := s.unsealed(&event.Event{}); err != nil {
			return nil, false, err
		}
		var e event.Event
		err := s.body(r, from, func(b []byte) (err error) {
			e, err = event.New(s.Accepts, "plain", "", json.RawMessage(b))
			return im.Wrap(im.Invalid, err, "the body is not JSON")
		})
		e.TraceParent = r.Header.Get("Traceparent")
		return []event.Event{e}, false, err
	}
	return nil, false, im.Errorf(im.Unsupported, "%.60q is not spoken here: send %s, or a CloudEvent in binary mode, as %s or as %s",
		media, event.JSON, event.Structured, event.Batch)
}

// unsealed reports that a function takes sealed events only, and that e, whose
// data is not read yet, is none: a stranger's, which nobody has to hold.
func (s *server) unsealed(e *event.Event) error {
	if s.sealed && e.Seal == "" {
		return errEnvelope{s.ring.Verify(e)}
	}
	return nil
}

// body reads the body of r from a reader and hands it to parse, which keeps none of it.
func (s *server) body(r *http.Request, from io.Reader, parse func([]byte) error) error {
	var parsed error
	if err := event.ReadAll(from, func(b []byte) error { parsed = parse(b); return nil }); err != nil {
		return bodyError(err)
	}
	return parsed
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return im.Errorf(im.TooLarge, "the body has more than %d bytes", large.Limit)
	case isFull(err):
		return err
	}
	return &im.Error{Kind: im.Unavailable, Msg: "the body of the request broke off", Err: err}
}

// readEvent reads a CloudEvent in binary or structured mode, as the SDK's binding
// for HTTP has it.
func (s *server) readEvent(r *http.Request, from io.Reader) (event.Event, error) {
	e, err := event.Read(r.Context(), cehttp.NewMessage(r.Header, io.NopCloser(from)), s.unsealed)
	var known *im.Error
	if err == nil || errors.As(err, &known) {
		return e, err
	}
	return e, bodyError(err)
}

// run hands to the handler what may pass and returns a reply for each event. The
// caller may call at all unless denied says why not.
func (s *server) run(ctx context.Context, r *http.Request, caller im.Caller, denied error, events []event.Event) []reply {
	replies := make([]reply, len(events))
	calls := make([]call, 0, len(events))
	index := make([]int, 0, len(events))
	ctx, end := s.trace(ctx, events)
	for i := range events {
		if err := s.admit(&events[i]); err != nil {
			replies[i].err = err
		} else if denied != nil {
			replies[i].err = denied
		} else if err := s.proved(caller, events[i].Data); err != nil {
			replies[i].err = err
		} else {
			calls = append(calls, call{Event: events[i], caller: caller, address: s.address(&events[i])})
			index = append(index, i)
		}
	}
	var passed []reply
	switch {
	case len(calls) == 0:
	case s.gate != nil && caller.User != "":
		passed = s.called(ctx, r, calls)
	default:
		passed = s.protected(ctx, calls)
	}
	for j, rep := range passed {
		replies[index[j]] = rep
	}
	end(replies)
	for i := range events {
		s.record(ctx, caller, &events[i], replies[i])
	}
	return replies
}

// errEnvelope marks an error of the event itself, which no status table of a
// call applies to: it can never succeed.
type errEnvelope struct{ error }

func (e errEnvelope) Unwrap() error { return e.error }

// admit reports whether an event is of a type and seal that may pass.
func (s *server) admit(e *event.Event) error {
	if e.Type != s.Accepts && !slices.Contains(s.Also, e.Type) {
		return errEnvelope{im.Errorf(im.Invalid, "%s takes events of type %s, not %.80s", s.Name, s.Accepts, e.Type)}
	}
	if s.sealed {
		if err := s.ring.Verify(e); err != nil {
			return errEnvelope{err}
		}
	}
	return nil
}

// address returns where a call came from, if a gateway vouches for it.
func (s *server) address(e *event.Event) string {
	if !s.vouched || s.ring.Verify(e) != nil {
		return ""
	}
	return e.Subject
}

// caller returns who sent the request, where the function asks. Denied: the
// token is a bot's, and not good for this function.
func (s *server) caller(r *http.Request) (im.Caller, error) {
	if s.verify == nil {
		return im.Caller{}, nil
	}
	if s.anybody && r.Header.Get("Authorization") == "" {
		return im.Caller{}, nil
	}
	scheme, jwt, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || jwt == "" {
		return im.Caller{}, im.Errorf(im.Unauthenticated, "an access token is needed: Authorization: Bearer <token>")
	}
	c, _, err := s.verify.Verify(strings.TrimSpace(jwt))
	if err == nil {
		err = c.May(s.Scope)
	}
	return c, err
}

// protected runs the handler and makes an error of a panic.
func (s *server) protected(ctx context.Context, calls []call) (replies []reply) {
	defer func() {
		if p := recover(); p != nil {
			err := s.panicked(ctx, p)
			replies = make([]reply, len(calls))
			for i := range replies {
				replies[i].err = err
			}
		}
	}()
	return s.handle(ctx, calls)
}

// panicked logs what a function panicked with, while it does, and returns the
// error that is made of it.
func (s *server) panicked(ctx context.Context, with any) error {
	s.env.Log.ErrorContext(ctx, "panic", "function", s.Name, "err", fmt.Sprint(with), "stack", string(debug.Stack()))
	return im.Internal
}

// classify gives an error that nobody gave a kind one, where the kind is plain.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var known *im.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &im.Error{Kind: im.Unavailable, Msg: "it took too long: try again", Err: err}
	}
	return err
}

func (s *server) statusOf(err error) int {
	var env errEnvelope
	if errors.As(err, &env) {
		return deliveryStatus(im.KindOf(err))
	}
	return s.status(im.KindOf(err))
}
