// Package api hands the HTTP calls of clients to functions, as openapi.yaml
// says: operationId is the function's name, and what is in path, query and body
// becomes the fields of one JSON object. It does not know what any function
// does, nor who is calling: functions verify the caller's token themselves.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	problemJSON = "application/problem+json"

	maxCalls  = 1024     // of functions under way at a time
	maxAnswer = 16 << 20 // bytes
)

// Config is what the API is made of.
type Config struct {
	Spec      []byte                       // openapi.yaml
	Functions func(function string) string // URL of a function
	Client    *http.Client                 // follows no redirects
	Ring      *event.Keyring               // seals calls, so that functions believe the client's address
	Forwarded string                       // header in which a balancer says who the client is; "" if there is none
	Origins   origin.List                  // of pages that may call
	Log       *slog.Logger
	Tracer    trace.Tracer
	Metrics   *Metrics
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
	slots chan struct{}
}

// New returns a handler of all operations of the contract, which it serves at
// /openapi.yaml. Whatever else is asked for is not found.
func New(cfg Config) (http.Handler, error) {
	paths, err := operations(cfg.Spec)
	if err != nil {
		return nil, err
	}
	a := &api{Config: cfg, slots: make(chan struct{}, maxCalls)}
	mux := http.NewServeMux()
	for path, methods := range paths {
		mux.HandleFunc(path, a.route(methods))
	}
	mux.HandleFunc("/openapi.yaml", a.contract)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fn.WriteProblem(w, http.StatusNotFound, im.Errorf(im.NotFound, "there is nothing at %.80q: GET /openapi.yaml says what there is", r.URL.Path))
	})
	return a.guard(mux), nil
}

// guard sets the headers that all answers have.
func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
			h.Set("Access-Control-Expose-Headers", "Retry-After")
		}
		next.ServeHTTP(w, r)
	})
}

// route answers at one path.
func (a *api) route(methods map[string]operation) http.HandlerFunc {
	allow := allowed(methods)
	return func(w http.ResponseWriter, r *http.Request) {
		op, ok := methods[r.Method]
		switch {
		case ok:
			a.call(w, r, &op)
		case r.Method == http.MethodOptions:
			preflight(w, r, allow)
		default:
			notAllowed(w, r, allow)
		}
	}
}

func (a *api) contract(w http.ResponseWriter, r *http.Request) {
	const allow = "OPTIONS, GET"
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "application/yaml")
		w.Write(a.Spec) // a client that is gone reads no answer
	case http.MethodOptions:
		preflight(w, r, allow)
	default:
		notAllowed(w, r, allow)
	}
}

// preflight answers a browser that asks whether a page may make a call.
func preflight(w http.ResponseWriter, r *http.Request, allow string) {
	h := w.Header()
	h.Set("Allow", allow)
	if h.Get("Access-Control-Allow-Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

func notAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	fn.WriteProblem(w, http.StatusMethodNotAllowed, im.Errorf(im.Invalid, "%.20q is not done to %.80q: there is %s", r.Method, r.URL.Path, allow))
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
	data, err := op.fields(w, r)
	if err != nil {
		return fn.CallStatus(err), err
	}
	// Not before the request is read, which may take a slow client long.
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return http.StatusTooManyRequests, errBusy
	}
	resp, err := a.post(ctx, op.Function, a.address(r), data, r.Header.Get("Authorization"))
	if err != nil {
		return http.StatusServiceUnavailable, im.Wrap(im.Unavailable, err, "this part of the service does not answer: try again")
	}
	defer resp.Body.Close()
	if err := foreign(resp); err != nil {
		return fn.CallStatus(err), err
	}
	h := w.Header()
	for _, name := range []string{"Content-Type", "Retry-After", "WWW-Authenticate"} {
		if v := resp.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		a.Log.DebugContext(ctx, "passing on an answer", "function", op.Function, "err", err)
	}
	return resp.StatusCode, nil
}

// address returns the network address of who sent r: of an IPv6 one the first
// 64 bits, which is what one customer has. Of a list that a balancer wrote, the
// last is the only one that it saw itself.
func (a *api) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if a.Forwarded != "" {
		list := strings.Split(strings.Join(r.Header.Values(a.Forwarded), ","), ",")
		host = strings.TrimSpace(list[len(list)-1])
		if at, err := netip.ParseAddrPort(host); err == nil { // some balancers write the port too
			host = at.Addr().String()
		}
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return ""
	case ip.Unmap().Is4():
		return ip.Unmap().String()
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().Addr().String()
}

// post calls a function by a CloudEvent in binary mode, whose subject is the
// address of the client.
func (a *api) post(ctx context.Context, function, address string, data json.RawMessage, authorization string) (*http.Response, error) {
	e, err := event.New(event.CallType(function), "gateway", address, data)
	if err != nil {
		return nil, err
	}
	a.Ring.Sign(&e)
	e.TraceParent = fn.TraceParent(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Functions(function), bytes.NewReader(e.Data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", event.JSON)
	for name, value := range e.Attributes {
		req.Header.Set("Ce-"+name, value)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return a.Client.Do(req)
}

var errBusy = &im.Error{Kind: im.Overloaded, Msg: "too many calls at once: come again", RetryAfter: time.Second}

// foreign reports whether an answer is not of a function but of something
// before it, such as a proxy that does not find it. A function answers with
// JSON, with a problem, or with nothing.
func foreign(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch ok := resp.StatusCode < 300; {
	case ok && (media == event.JSON || resp.StatusCode == http.StatusNoContent), !ok && media == problemJSON:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests:
		return errBusy
	}
	return im.Wrap(im.Unavailable, errForeign(resp.StatusCode), "this part of the service does not answer: try again")
}

type errForeign int

func (e errForeign) Error() string {
	return "status " + strconv.Itoa(int(e)) + " of something that is not a function"
}
