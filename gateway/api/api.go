// Package api hands the HTTP calls of clients to functions, as openapi.yaml
// says: operationId is the function's name, and what is in path, query and body
// becomes the fields of one JSON object. It does not know what any function
// does, nor who is calling: functions verify the caller's token themselves.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/answer"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

const (
	problemJSON = answer.ProblemJSON

	maxCalls  = 1024                // of functions under way at a time
	maxAnswer = 4 << 20             // bytes
	maxUnsaid = im.MaxPage + 64<<10 // bytes of an answer whose length is not said: a page, and what is around it
	bodyCost  = 4                   // bytes of memory for one of a body: as it came, and as fields
)

// Config is what the API is made of.
type Config struct {
	Spec      []byte                       // openapi.yaml
	Async     []byte                       // asyncapi.yaml
	Functions func(function string) string // URL of a function
	Client    *http.Client                 // follows no redirects
	Ring      *event.Keyring               // seals calls, so that functions believe the client's address
	Memory    proc.Budgets                 // lent to bodies and answers
	Limits    Limits                       // of calls under way
	Verify    func(token string) (im.Caller, time.Time, error)
	Forwarded string      // header in which a balancer says who the client is; "" if there is none
	Origins   origin.List // of pages that may call
	Log       *slog.Logger
	Tracer    trace.Tracer
	Metrics   *Metrics
	Foreign   fn.ForeignAnswers // counted; none in its zero value
}

// Metrics are what the API counts.
type Metrics struct{ seconds *prometheus.HistogramVec }

// NewMetrics returns metrics that reg gathers.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidings_gateway_call_seconds", Help: "How long calls of the API took, by function and status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"function", "status"})}
	reg.MustRegister(m.seconds)
	return m
}

type api struct {
	Config
	slots     chan struct{}
	callers   *callers
	tokens    *tokens
	strangers *proc.Budget // for bodies
}

// newAPI returns an API with so many slots.
func newAPI(cfg Config, slots int) *api {
	return &api{
		Config: cfg, slots: make(chan struct{}, slots), callers: newCallers(cfg.Limits, cfg.Memory.Work),
		tokens: newTokens(cfg.Verify), strangers: fn.Strangers(cfg.Memory),
	}
}

// New returns a handler of all operations of the contract, and of the pages that
// tell of it: /docs, /openapi.yaml and /asyncapi.yaml. Whatever else is asked
// for is not found.
func New(cfg Config) (http.Handler, error) {
	paths, err := operations(cfg.Spec)
	if err != nil {
		return nil, err
	}
	a := newAPI(cfg, maxCalls)
	mux := http.NewServeMux()
	for path, ops := range paths {
		for method, op := range ops {
			if err := handle(mux, method+" "+path, a.route(mux, &op)); err != nil {
				return nil, err
			}
		}
	}
	mux.HandleFunc("GET /openapi.yaml", a.text("application/yaml", cfg.Spec))
	mux.HandleFunc("GET /asyncapi.yaml", a.text("application/yaml", cfg.Async))
	if err := a.docs(mux); err != nil {
		return nil, err
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, "/docs", http.StatusFound)
			return
		}
		otherwise(mux, w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { otherwise(mux, w, r) })
	return a.guard(mux), nil
}

// handle adds a handler. Two patterns that no request can be told apart by are
// an error of the contract.
func handle(mux *http.ServeMux, pattern string, h http.HandlerFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("routing %s: %v", pattern, p)
		}
	}()
	mux.HandleFunc(pattern, h)
	return nil
}

// guard sets the headers that all answers have.
func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fn.BoundUnread(w, r)
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		if len(a.Origins) > 0 {
			h.Set("Vary", "Origin")
		}
		if from := r.Header.Get("Origin"); from != "" && a.Origins.Allows(from) {
			h.Set("Access-Control-Allow-Origin", from)
			h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
		}
		next.ServeHTTP(w, r)
	})
}

// route answers the calls of one operation.
func (a *api) route(mux *http.ServeMux, op *operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead { // the mux takes it for a GET
			otherwise(mux, w, r)
			return
		}
		a.call(w, r, op)
	}
}

// otherwise answers what is no call: by what else can be done at this place,
// if anything can.
func otherwise(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	allow := []string{http.MethodOptions}
	for _, method := range methods {
		_, pattern := mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL})
		if pattern != "/" && pattern != "GET /{$}" {
			allow = append(allow, method)
		}
	}
	switch list := strings.Join(allow, ", "); {
	case len(allow) == 1:
		fn.WriteProblem(w, http.StatusNotFound, im.Errorf(im.NotFound, "there is nothing at %.80q: /docs and /openapi.yaml say what there is", r.URL.Path))
	case r.Method == http.MethodOptions:
		preflight(w, r, list)
	default:
		w.Header().Set("Allow", list)
		fn.WriteProblem(w, http.StatusMethodNotAllowed, im.Errorf(im.Invalid, "%.20q is not done to %.80q: there is %s", r.Method, r.URL.Path, list))
	}
}

// text serves what does not change.
func (a *api) text(media string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, _ := a.who(r, nil) // anybody may
		v, err := a.callers.enter(who)
		if err != nil {
			fn.WriteProblem(w, fn.CallStatus(err), err)
			return
		}
		defer v.leave()
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		fn.WritePaced(w, body) // a client that is gone reads no answer
	}
}

// preflight answers a browser that asks whether a page may make a call.
func preflight(w http.ResponseWriter, r *http.Request, allow string) {
	h := w.Header()
	h.Set("Allow", allow)
	if h.Get("Access-Control-Allow-Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, "+fn.IdempotencyKey)
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// call hands a request to its function.
func (a *api) call(w http.ResponseWriter, r *http.Request, op *operation) {
	start := time.Now()
	ctx, span := a.Tracer.Start(r.Context(), op.Function, trace.WithSpanKind(trace.SpanKindServer))
	status, err := a.forward(ctx, w, r, op)
	if err != nil {
		if status >= 500 {
			a.Log.WarnContext(ctx, "calling a function", "function", op.Function, "err", err)
		}
		fn.WriteProblem(w, status, err)
	}
	if status >= 500 {
		span.SetStatus(codes.Error, http.StatusText(status))
	}
	span.End()
	a.Metrics.seconds.WithLabelValues(op.Function, strconv.Itoa(status)).Observe(time.Since(start).Seconds())
}

// forward posts a call to its function and passes the answer on. If it returns
// an error, nothing was answered yet.
func (a *api) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, op *operation) (status int, err error) {
	// Before anything of the body is read.
	who, err := a.who(r, op)
	if err != nil {
		return fn.CallStatus(err), err
	}
	v, err := a.callers.enter(who)
	if err != nil {
		return fn.CallStatus(err), err
	}
	defer v.leave()
	data, err := a.fields(w, r, op, who)
	if err != nil {
		return fn.CallStatus(err), err
	}
	got, err := a.ask(ctx, r, op, who, data, v)
	if err != nil {
		return fn.CallStatus(err), err
	}
	h := w.Header()
	for name, value := range got.header {
		h[name] = value
	}
	h.Set("Content-Length", strconv.Itoa(len(got.body)))
	if len(got.body) == 0 && got.status == http.StatusNoContent {
		h.Del("Content-Length")
	}
	w.WriteHeader(got.status)
	if err := fn.WritePaced(w, got.body); err != nil {
		a.Log.DebugContext(ctx, "passing on an answer", "function", op.Function, "err", err)
	}
	return got.status, nil
}

// fields reads what a request says, of which the body is lent memory as it comes.
func (a *api) fields(w http.ResponseWriter, r *http.Request, op *operation, who caller) (json.RawMessage, error) {
	budget := a.Memory.Bodies
	if who.user == "" {
		budget = a.strangers
	}
	body := fn.NewLentReader(http.MaxBytesReader(w, pacedBody{fn.NewPacedReader(w, r), r.Body}, maxBody), budget, bodyCost)
	defer body.Close()
	return op.fields(r, body)
}

// pacedBody reads a body at the least pace.
type pacedBody struct {
	io.Reader
	io.Closer
}

// A reply is what a function answered.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask calls a function and reads all that it answers, for which it has one of
// the slots; the client, who may read slowly, has none.
func (a *api) ask(ctx context.Context, r *http.Request, op *operation, who caller, data json.RawMessage, v *visit) (got reply, err error) {
	// Not before the request is read, which may take a slow client long.
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return got, errBusy
	}
	key := ""
	if op.idempotent {
		key = r.Header.Get(fn.IdempotencyKey)
	}
	resp, err := a.post(ctx, op.Function, who.address, data, r.Header.Get("Authorization"), key)
	if err != nil {
		return got, im.Wrap(im.Unavailable, err, noAnswer)
	}
	defer resp.Body.Close()
	if err := a.foreign(op.Function, resp); err != nil {
		return got, err
	}
	got = reply{status: resp.StatusCode, header: make(http.Header)}
	for _, name := range []string{"Content-Type", "Retry-After", "WWW-Authenticate"} {
		if v := resp.Header.Get(name); v != "" {
			got.header.Set(name, v)
		}
	}
	got.body, err = read(resp, v)
	return got, err
}

// read reads an answer into memory that is counted. One of which the length is
// not said is counted as the longest there is until it is known. It may end
// early without a sign of it (RFC 9112, 8): one that is not whole JSON has.
func read(resp *http.Response, v *visit) ([]byte, error) {
	size := resp.ContentLength
	if size < 0 {
		size = maxUnsaid
	}
	if size > maxAnswer {
		return nil, im.Wrap(im.Unavailable, errLong, noAnswer)
	}
	if err := v.hold(size); err != nil {
		return nil, err
	}
	b, err := fill(make([]byte, size), resp.Body)
	switch {
	case err != nil:
	case resp.ContentLength >= 0 && len(b) < int(size):
		err = io.ErrUnexpectedEOF
	case resp.ContentLength < 0 && len(b) == int(size):
		err = errLong
	case resp.ContentLength < 0 && !json.Valid(b):
		err = errCut
	}
	return b, im.Wrap(im.Unavailable, err, noAnswer)
}

// fill reads into b until it is full or what is read ends, and returns what was
// read. Unlike io.ReadFull it tells an end from what was cut off, which readers
// of bodies call io.ErrUnexpectedEOF as well.
func fill(b []byte, from io.Reader) ([]byte, error) {
	n := 0
	for n < len(b) {
		m, err := from.Read(b[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			return b[:n], err
		}
	}
	return b[:n], nil
}

const noAnswer = "this part of the service does not answer: try again"

var (
	errLong = errors.New("the answer is too long")
	errCut  = errors.New("the answer is not whole")
)

// post calls a function by a CloudEvent in binary mode, whose subject is the
// address of the client.
func (a *api) post(ctx context.Context, function, address string, data json.RawMessage, authorization, key string) (*http.Response, error) {
	e, err := event.New(event.CallType(function), "gateway", address, data)
	if err != nil {
		return nil, err
	}
	a.Ring.Sign(&e)
	e.TraceParent = fn.TraceParent(ctx)
	req, err := fn.NewRequest(ctx, a.Functions(function), &e)
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if key != "" {
		req.Header.Set(fn.IdempotencyKey, key)
	}
	return a.Client.Do(req)
}

var errBusy = &im.Error{Kind: im.Overloaded, Msg: "too many calls at once: come again", RetryAfter: time.Second}

// foreign returns the error for an answer that is not of a function but of
// something before it, such as a proxy that does not find it, or nil.
func (a *api) foreign(function string, resp *http.Response) error {
	err := answer.Check(resp)
	a.Foreign.Note(function, err)
	if err != nil && resp.StatusCode == http.StatusTooManyRequests {
		return errBusy
	}
	return im.Wrap(im.Unavailable, err, noAnswer)
}
