package fn_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crypto/x509"
	"encoding/pem"

	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/token"
)

type ask struct {
	Name string `json:"name"`
}

var sealKeys = "k1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

func newEnv(t testing.TB, vars map[string]string) *proc.Env {
	t.Helper()
	return proc.NewEnv(func(k string) string {
		if v, ok := vars[k]; ok {
			return v
		}
		if k == "SEAL_KEYS" {
			return sealKeys
		}
		return ""
	}, slog.New(slog.DiscardHandler))
}

// mount serves one function named "f" that accepts type "t".
func mount(t *testing.T, env *proc.Env, h fn.Handler) *httptest.Server {
	t.Helper()
	mux, err := fn.Mount(t.Context(), env, fn.Func{Name: "f", Accepts: "t",
		New: func(context.Context, *proc.Env) (fn.Handler, error) { return h, nil }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func ring(t testing.TB) *event.Keyring {
	t.Helper()
	k, err := event.ParseKeyring(sealKeys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealed returns a sealed event of type "t".
func sealed(t testing.TB, id string, data any) event.Event {
	t.Helper()
	e, err := event.New("t", "test", "key", data)
	if err != nil {
		t.Fatal(err)
	}
	if id != "" {
		e.ID = id
	}
	ring(t).Sign(&e)
	return e
}

func post(t *testing.T, srv *httptest.Server, events ...event.Event) []fn.Result {
	t.Helper()
	res, err := fn.Post(t.Context(), srv.Client(), srv.URL, events)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func raw(t *testing.T, srv *httptest.Server, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return rawTo(t, srv, "/", body, header...)
}

func rawTo(t *testing.T, srv *httptest.Server, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func fails(k im.Kind) fn.Handler {
	return fn.On(func(context.Context, []ask) error { return im.Errorf(k, "no") })
}

func failsCall(k im.Kind) fn.Handler {
	return fn.Call(func(context.Context, ask) (ask, error) { return ask{}, im.Errorf(k, "no") })
}

func TestStatusOfAnEvent(t *testing.T) {
	ok := fn.On(func(context.Context, []ask) error { return nil })
	for _, tt := range []struct {
		name string
		h    fn.Handler
		data any
		want int
	}{
		{"handled", ok, ask{"x"}, 204},
		{"that names nothing is not sent again", fails(im.NotFound), ask{"x"}, 422},
		{"that conflicts is not sent again", fails(im.Conflict), ask{"x"}, 422},
		{"that may not is not sent again", fails(im.Denied), ask{"x"}, 422},
		{"that is invalid is not sent again", fails(im.Invalid), ask{"x"}, 422},
		{"is sent again when a dependency is down", fails(im.Unavailable), ask{"x"}, 503},
		{"is sent again when we are at fault", fails(im.Internal), ask{"x"}, 503},
		{"is sent again later when there is too much", fails(im.Overloaded), ask{"x"}, 429},
		{"is sent again when its deadline passed", fn.On(func(context.Context, []ask) error { return context.DeadlineExceeded }), ask{"x"}, 503},
		{"is sent again when its handler panics", fn.On(func(context.Context, []ask) error { panic("at the disco") }), ask{"x"}, 503},
		{"with data of another form is not sent again", ok, []int{1}, 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := mount(t, newEnv(t, nil), tt.h)
			if got := post(t, srv, sealed(t, "1", tt.data))[0]; got.Status != tt.want {
				t.Errorf("alone: status %d (%v), want %d", got.Status, got.Err(), tt.want)
			}
			pair := post(t, srv, sealed(t, "1", tt.data), sealed(t, "2", tt.data))
			for _, got := range pair {
				if got.Status != tt.want {
					t.Errorf("in a batch: status %d (%v), want %d", got.Status, got.Err(), tt.want)
				}
			}
		})
	}
}

func TestStatusOfACall(t *testing.T) {
	for kind, want := range map[im.Kind]int{
		im.Invalid: 400, im.Unauthenticated: 401, im.Denied: 403, im.NotFound: 404, im.Conflict: 409,
		im.TooLarge: 413, im.Overloaded: 429, im.Internal: 500, im.Unavailable: 503,
	} {
		resp, body := raw(t, mount(t, newEnv(t, nil), failsCall(kind)), `{}`, "Content-Type", "application/json")
		var p im.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want || p.Kind != kind || p.Detail != "no" || p.Status != want || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", kind, resp.StatusCode, body, want)
		}
	}
}

func TestEnvelopesThatMakeNoSenseAreNotSentAgain(t *testing.T) {
	h := fn.On(func(context.Context, []ask) error { return nil })
	srv := mount(t, newEnv(t, map[string]string{"FUNCTION_MAX_BODY": "2000"}), h)
	bin := []string{"Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "s", "Ce-Type", "t"}
	for _, tt := range []struct {
		name, body string
		header     []string
		want       int
	}{
		{"an unknown encoding", "x", []string{"Content-Type", "application/xml"}, 415},
		{"another alphabet", "{}", []string{"Content-Type", "application/json; charset=latin1"}, 415},
		{"no encoding", "{}", nil, 415},
		{"a content type that is none", "{}", []string{"Content-Type", ";;"}, 415},
		{"a batch that is no list", `{"a":1}`, []string{"Content-Type", event.Batch}, 422},
		{"a batch cut short", `[{"specversion":"1.0","id":"1"`, []string{"Content-Type", event.Batch}, 422},
		{"a batch with an event without id", `[{"specversion":"1.0","type":"t","source":"s"}]`, []string{"Content-Type", event.Batch}, 422},
		{"a structured event that is no JSON", `}`, []string{"Content-Type", event.Structured}, 422},
		{"a structured event of the future", `{"specversion":"2.0","id":"1","type":"t","source":"s"}`, []string{"Content-Type", event.Structured}, 422},
		{"plain text that is no JSON", `}`, []string{"Content-Type", event.JSON}, 422},
		{"no seal", `{}`, bin, 422},
		{"a plain request without a seal", `{}`, []string{"Content-Type", event.JSON}, 422},
		{"a seal that is none", `{}`, append(slices.Clone(bin), "Ce-Seal", "x"), 422},
		{"a seal of an unknown key", `{}`, append(slices.Clone(bin), "Ce-Seal", "k9.AAAA"), 422},
		{"a false seal", `{}`, append(slices.Clone(bin), "Ce-Seal", "k1."+strings.Repeat("A", 43)), 422},
		{"a seal that is too long", `{}`, append(slices.Clone(bin), "Ce-Seal", "k1."+strings.Repeat("A", 430)), 422},
		{"another type", `{}`, append(slices.Clone(bin), "Ce-Type", "other"), 422},
		{"too much in binary mode", `"` + strings.Repeat("x", 3000) + `"`, bin, 422},
		{"too much in a batch", `"` + strings.Repeat("x", 3000) + `"`, []string{"Content-Type", event.Batch}, 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := raw(t, srv, tt.body, tt.header...)
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.want, body)
			}
			if strings.Contains(body, "Go ") || !strings.Contains(body, `"detail"`) {
				t.Errorf("the answer does not help: %s", body)
			}
		})
	}
	resp, err := srv.Client().Get(srv.URL + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", resp.StatusCode)
	}
}

func TestAPoisonEventDoesNotSpoilItsBatch(t *testing.T) {
	var got []ask
	srv := mount(t, newEnv(t, nil), fn.On(func(_ context.Context, in []ask) error { got = in; return nil }))
	unsealed := sealed(t, "2", ask{"b"})
	unsealed.Seal = ""
	res := post(t, srv, sealed(t, "1", ask{"a"}), unsealed, sealed(t, "3", "not an ask"), sealed(t, "4", ask{"d"}))
	var status []int
	for _, r := range res {
		status = append(status, r.Status)
	}
	if !slices.Equal(status, []int{204, 422, 422, 204}) || !slices.Equal(got, []ask{{"a"}, {"d"}}) {
		t.Errorf("status %v, handled %v", status, got)
	}
}

func TestEachEventOfABatchMayFailAlone(t *testing.T) {
	srv := mount(t, newEnv(t, nil), fn.On(func(_ context.Context, in []ask) error {
		return fn.Each{nil, im.Errorf(im.Unavailable, "down"), im.Errorf(im.Invalid, "bad")}.Or()
	}))
	res := post(t, srv, sealed(t, "1", ask{}), sealed(t, "2", ask{}), sealed(t, "3", ask{}))
	if res[0].Status != 204 || res[1].Status != 503 || res[2].Status != 422 || !errors.Is(res[1].Err(), im.Unavailable) {
		t.Errorf("%+v", res)
	}
}

func TestABatchIsAnsweredEventByEvent(t *testing.T) {
	srv := mount(t, newEnv(t, nil), fn.Answer(func(_ context.Context, in []ask) []fn.Reply[ask] {
		out := make([]fn.Reply[ask], len(in))
		for i, a := range in {
			if a.Name == "bad" {
				out[i].Err = im.Errorf(im.Denied, "you may not")
			}
			out[i].Value = ask{a.Name + "!"}
		}
		return out
	}))
	res := post(t, srv, sealed(t, "1", ask{"a"}), sealed(t, "2", ask{"bad"}), sealed(t, "3", ask{"c"}))
	if string(res[0].Data) != `{"name":"a!"}` || res[1].Status != 403 || res[1].Error.Detail != "you may not" || string(res[2].Data) != `{"name":"c!"}` {
		t.Errorf("%+v", res)
	}
	alone := post(t, srv, sealed(t, "1", ask{"a"}))[0]
	if strings.TrimSpace(string(alone.Data)) != `{"name":"a!"}` {
		t.Errorf("alone: %s", alone.Data)
	}
}

func TestInternalErrorsAreNotShown(t *testing.T) {
	h := fn.Call(func(context.Context, ask) (ask, error) { return ask{}, errors.New("password is swordfish") })
	resp, body := raw(t, mount(t, newEnv(t, nil), h), `{}`, "Content-Type", "application/json")
	if resp.StatusCode != 500 || strings.Contains(body, "swordfish") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestACallRefusesWhatItDoesNotKnow(t *testing.T) {
	h := fn.Call(func(_ context.Context, a ask) (ask, error) { return a, nil })
	srv := mount(t, newEnv(t, nil), h)
	for body, want := range map[string]int{
		`{"name":"x"}`:        200,
		`{"nmae":"x"}`:        400,
		`{"name":7}`:          400,
		"{\"name\":\"\xff\"}": 400,
		``:                    422,
		`{"name":"x"} {}`:     422,
	} {
		if resp, got := raw(t, srv, body, "Content-Type", "application/json"); resp.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", body, resp.StatusCode, got, want)
		}
	}
}

// keys returns a new issuer and the public key that believes it, as settings.
func keys(t *testing.T) (*token.Issuer, string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return token.NewIssuer(priv, "tidings", time.Minute), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestP6ACallerIsWhoTheTokenSays(t *testing.T) {
	issuer, pub := keys(t)
	stranger, _ := keys(t)
	ann := im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d1", Platform: "web"}
	good, _, err := issuer.Issue(ann)
	if err != nil {
		t.Fatal(err)
	}
	forged, _, err := stranger.Issue(ann)
	if err != nil {
		t.Fatal(err)
	}
	var got im.Caller
	srv := mount(t, newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub}),
		fn.CallAs(open{}, func(_ context.Context, c im.Caller, _ ask) (ask, error) { got = c; return ask{}, nil }))
	for auth, want := range map[string]int{
		"":                     401,
		good:                   401,
		"Bearer ":              401,
		"Bearer x.y.z":         401,
		"Bearer " + forged:     401,
		"Bearer " + good + "x": 401,
		"Basic " + good:        401,
		"Bearer " + good:       200,
		"bearer " + good:       200,
	} {
		got = im.Caller{}
		resp, body := raw(t, srv, `{"name":"x"}`, "Content-Type", "application/json", "Authorization", auth)
		if resp.StatusCode != want || (got == ann) != (want == 200) {
			t.Errorf("%.30q: %d %s, caller %+v", auth, resp.StatusCode, body, got)
		}
	}
}

func TestP6AnAddressIsBelievedOnlyIfAGatewaySealedIt(t *testing.T) {
	var got string
	srv := mount(t, newEnv(t, nil), fn.CallFrom(func(_ context.Context, address string, _ ask) (ask, error) { got = address; return ask{}, nil }))
	e := sealed(t, "1", ask{"x"})
	e.Subject = "192.0.2.1"
	ring(t).Sign(&e)
	post(t, srv, e)
	if got != "192.0.2.1" {
		t.Errorf("sealed: address %q", got)
	}
	e.Subject = "192.0.2.2" // under the seal of the other
	if res := post(t, srv, e)[0]; res.Status != 200 || got != "" {
		t.Errorf("forged: %+v, address %q", res, got)
	}
	if resp, body := raw(t, srv, `{}`, "Content-Type", "application/json"); resp.StatusCode != 200 || got != "" {
		t.Errorf("plain: %s, address %q", body, got)
	}
}

func TestP7TooManyRequestsAtOnceAreToldToComeAgain(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	srv := mount(t, newEnv(t, map[string]string{"FUNCTION_MAX_IN_FLIGHT": "1"}), fn.On(func(context.Context, []ask) error {
		entered <- struct{}{}
		<-release
		return nil
	}))
	first, second := sealed(t, "1", ask{}), sealed(t, "2", ask{})
	done := make(chan error, 1)
	go func() {
		_, err := fn.Post(t.Context(), srv.Client(), srv.URL, []event.Event{first})
		done <- err
	}()
	<-entered
	got := post(t, srv, second)[0]
	if got.Status != 429 || got.RetryAfter != time.Second {
		t.Errorf("%+v", got)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestP7WhoSendsSlowlyKeepsNobodyOut(t *testing.T) {
	srv := mount(t, newEnv(t, map[string]string{"FUNCTION_MAX_IN_FLIGHT": "1", "FUNCTION_TIMEOUT": "3s"}),
		fn.On(func(context.Context, []ask) error { return nil }))
	slow, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// That it is answered 100 Continue shows that its body is being read.
	io.WriteString(slow, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/cloudevents-batch+json\r\nContent-Length: 9999\r\n\r\n")
	slow.SetReadDeadline(time.Now().Add(time.Minute))
	answer := bufio.NewReader(slow)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	io.WriteString(slow, "[")
	if got := post(t, srv, sealed(t, "1", ask{}))[0]; got.Status != 204 {
		t.Errorf("while another sends slowly: %+v", got)
	}
	rest, err := io.ReadAll(answer)
	if err != nil || !strings.Contains(string(rest), "503 Service Unavailable") {
		t.Errorf("who sends slowly is answered %q, %v", rest, err)
	}
}

func TestAFunctionGivesUpAtItsDeadline(t *testing.T) {
	srv := mount(t, newEnv(t, map[string]string{"FUNCTION_TIMEOUT": "20ms"}), fn.On(func(ctx context.Context, _ []ask) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	if got := post(t, srv, sealed(t, "1", ask{}))[0]; got.Status != 503 {
		t.Errorf("%+v", got)
	}
}

func TestEveryModeOfTheSDKIsUnderstood(t *testing.T) {
	var got []string
	srv := mount(t, newEnv(t, nil), fn.On(func(_ context.Context, in []event.Event) error {
		for _, e := range in {
			got = append(got, e.ID+" "+e.PartitionKey+" "+string(e.Data))
		}
		return nil
	}))
	sdk := func(id string) ce.Event {
		ours := sealed(t, id, ask{"grüße <>&"})
		e := ce.New()
		e.SetID(ours.ID)
		e.SetType(ours.Type)
		e.SetSource(ours.Source)
		e.SetSubject(ours.Subject)
		e.SetExtension("partitionkey", ours.PartitionKey)
		e.SetExtension("seal", ours.Seal)
		if err := e.SetData("application/json", []byte(ours.Data)); err != nil {
			t.Fatal(err)
		}
		return e
	}
	structured, err := json.Marshal(sdk("structured"))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := json.Marshal([]ce.Event{sdk("batch1"), sdk("batch2")})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ media, body string }{{event.Structured, string(structured)}, {event.Batch, string(batch)}} {
		if resp, body := raw(t, srv, m.body, "Content-Type", m.media); resp.StatusCode != 204 {
			t.Errorf("%s: %d %s", m.media, resp.StatusCode, body)
		}
	}
	post(t, srv, sealed(t, "binary", ask{"grüße <>&"}))
	want := []string{}
	for _, id := range []string{"structured", "batch1", "batch2", "binary"} {
		want = append(want, id+` key {"name":"grüße <>&"}`)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheSDKReadsOurBatches(t *testing.T) {
	events := []event.Event{sealed(t, "1", ask{`quote " and é`}), sealed(t, "2", ask{"b"})}
	req, err := http.NewRequest("POST", "/", bytes.NewReader(event.AppendBatch(nil, events)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", event.Batch)
	got, err := cehttp.NewEventsFromHTTPRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		if e.ID() != events[i].ID || e.Extensions()["seal"] != events[i].Seal || string(e.Data()) != string(events[i].Data) {
			t.Errorf("event %d came back as %v", i, e)
		}
	}
}

func TestDrainingIsNotReady(t *testing.T) {
	env := newEnv(t, nil)
	srv := mount(t, env, fails(im.Internal))
	get := func(path string) int {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/_/health", "/healthz", "/_/ready", "/readyz", "/metrics"} {
		if got := get(path); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
	env.Drain()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/_/ready": 503} {
		if got := get(path); got != want {
			t.Errorf("draining, %s: %d, want %d", path, got, want)
		}
	}
}

func TestATraceGoesThroughTheFunction(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tp := trace.NewTracerProvider(trace.WithSyncer(spans))
	env := newEnv(t, nil)
	env.Tracer = tp.Tracer("test")
	var inside string
	srv := mount(t, env, fn.On(func(_ context.Context, in []event.Event) error { inside = in[0].TraceParent; return nil }))
	e := sealed(t, "1", ask{})
	e.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	post(t, srv, e)
	got := spans.GetSpans()
	if len(got) != 1 || got[0].Name != "f" || got[0].Parent.SpanID().String() != "b7ad6b7169203331" {
		t.Fatalf("spans: %+v", got)
	}
	if want := "00-0af7651916cd43dd8448eb211c80319c-" + got[0].SpanContext.SpanID().String() + "-01"; inside != want {
		t.Errorf("the handler continues from %q, want %q", inside, want)
	}
}

func TestPostSaysWhenThereIsNoAnswer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := fn.Post(t.Context(), fn.NewHTTPClient(time.Second), srv.URL, []event.Event{{ID: "1"}})
	if !errors.Is(err, im.Unavailable) {
		t.Errorf("error = %v", err)
	}
}

func TestP1AnAnswerThatIsOwedAndMissingIsNoAnswer(t *testing.T) {
	poster, err := fn.OpenPoster(newEnv(t, nil), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	silent := mount(t, newEnv(t, nil), fn.On(func(context.Context, []ask) error { return nil }))
	talking := mount(t, newEnv(t, nil), fn.Answer(func(_ context.Context, in []ask) []fn.Reply[ask] {
		return make([]fn.Reply[ask], len(in))
	}))
	for n := range 2 {
		events := []event.Event{sealed(t, "1", ask{}), sealed(t, "2", ask{})}[n:]
		for _, tt := range []struct {
			name string
			post func(ctx context.Context, function, url string, events []event.Event) ([]fn.Result, error)
			to   *httptest.Server
			ok   bool
		}{
			{"delivered to who answers nothing", poster.Deliver, silent, true},
			{"delivered to who answers", poster.Deliver, talking, false},
			{"asked of who answers nothing", poster.Ask, silent, false},
			{"asked of who answers", poster.Ask, talking, true},
		} {
			results, err := tt.post(t.Context(), "f", tt.to.URL, events)
			if tt.ok && (err != nil || len(results) != len(events)) || !tt.ok && !errors.Is(err, im.Unavailable) {
				t.Errorf("%d events %s: %v, %v", len(events), tt.name, results, err)
			}
		}
	}
}

func TestResultsOfABatchAreForItsEventsInWhateverOrder(t *testing.T) {
	const bad = `"error":{"kind":"invalid","title":"t","detail":"no"}`
	for _, tt := range []struct {
		name, results string
		want          []int // nil: no answer
	}{
		{"none", ``, []int{204, 204, 204}},
		{"some", `{"id":"b","status":422,` + bad + `}`, []int{204, 422, 204}},
		{"in another order", `{"id":"c","status":422,` + bad + `},{"id":"a","status":503,` + bad + `}`, []int{503, 204, 422}},
		{"those that are done, too", `{"id":"a","status":204},{"id":"b","status":200},{"id":"c","status":200}`, []int{204, 200, 200}},
		{"of an event that was not sent", `{"id":"d","status":204}`, nil},
		{"beside others", `{"id":"a","status":422,` + bad + `},{"id":"d","status":204}`, nil},
		{"twice of one", `{"id":"c","status":204},{"id":"c","status":204}`, nil},
		{"without an id", `{"status":204}`, nil},
		{"without a status", `{"id":"a"}`, nil},
		{"done and failed", `{"id":"a","status":204,` + bad + `}`, nil},
		{"failed for no reason", `{"id":"a","status":422}`, nil},
		{"of a status that is none", `{"id":"a","status":302,` + bad + `}`, nil},
		{"no objects", `"a","b"`, nil},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", event.JSON)
			io.WriteString(w, `{"results":[`+tt.results+`]}`)
		}))
		got, err := fn.Post(t.Context(), srv.Client(), srv.URL, []event.Event{{ID: "a"}, {ID: "b"}, {ID: "c"}})
		srv.Close()
		var status []int
		for _, r := range got {
			status = append(status, r.Status)
		}
		if !slices.Equal(status, tt.want) || (tt.want == nil) != errors.Is(err, im.Unavailable) {
			t.Errorf("%s: %v, %v", tt.name, status, err)
		}
	}
}

func TestServeLetsRequestsInFlightEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newEnv(t, nil)
		ctx, stop := context.WithCancel(t.Context())
		ln := newPipeListener()
		entered := make(chan struct{})
		served := make(chan error, 1)
		go func() {
			served <- env.Serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(entered)
				time.Sleep(5 * time.Second)
				io.WriteString(w, "done")
			}))
		}()
		client := &http.Client{Transport: &http.Transport{DialContext: ln.dial, DisableKeepAlives: true}}
		answer := make(chan string, 1)
		go func() {
			resp, err := client.Get("http://f/")
			if err != nil {
				answer <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			answer <- string(b)
		}()
		<-entered
		stop()
		if got := <-answer; got != "done" {
			t.Errorf("the request in flight got %q", got)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if !env.Draining() {
			t.Error("not draining")
		}
	})
}
