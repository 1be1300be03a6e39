package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/gateway/origin"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// asked is what a function was called with.
type asked struct {
	function string
	header   http.Header
	data     string
}

// config is of the API of a contract on functions at a URL.
func config(t *testing.T, spec []byte, functions string, origins ...string) Config {
	t.Helper()
	ring, err := event.ParseKeyring("k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Memory: proc.Budgets{Bodies: proc.NewBudget(16 << 20), Work: proc.NewBudget(32 << 20)},
		Limits: Limits{PerUser: 32, PerAddress: 512, PerNetworks: 4},
		Verify: func(token string) (im.Caller, time.Time, error) {
			if token == "bad" {
				return im.Caller{}, time.Time{}, im.Errorf(im.Unauthenticated, "the access token is not valid: sign in again")
			}
			return im.Caller{User: token}, time.Now().Add(time.Hour), nil
		},
		Ring:      ring,
		Forwarded: "X-Forwarded-For",
		Spec:      spec,
		Async:     tidings.AsyncAPI,
		Functions: func(name string) string { return functions + "/" + name },
		Client:    fn.NewHTTPClient(0),
		Origins:   origin.List(origins),
		Log:       slog.New(slog.DiscardHandler),
		Tracer:    noop.NewTracerProvider().Tracer(""),
		Metrics:   NewMetrics(prometheus.NewRegistry()),
	}
}

// gateway serves the API of a contract on functions at a URL.
func gateway(t *testing.T, spec []byte, functions string, origins ...string) (url string) {
	t.Helper()
	h, err := New(config(t, spec, functions, origins...))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// serve serves the API of a contract on functions that answer.
func serve(t *testing.T, spec []byte, answer http.HandlerFunc, origins ...string) (url string, calls *[]asked) {
	t.Helper()
	calls = new([]asked)
	functions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*calls = append(*calls, asked{strings.Trim(r.URL.Path, "/"), r.Header, string(b)})
		answer(w, r)
	}))
	t.Cleanup(functions.Close)
	return gateway(t, spec, functions.URL, origins...), calls
}

func TestAFunctionIsToldWhereACallComesFrom(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for header, want := range map[string]string{
		"192.0.2.7":                       "192.0.2.7",
		"203.0.113.9, 192.0.2.7":          "192.0.2.7", // the first is the client's own claim
		"::ffff:192.0.2.7":                "192.0.2.7",
		"192.0.2.7:1234":                  "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":            "2001:db8:1:2::",
		"not an address; drop the tables": "",
	} {
		*calls = nil
		do(t, "POST", url+"/v1/sessions", `{"account":"ann"}`, "Content-Type", "application/json", "X-Forwarded-For", header)
		if len(*calls) != 1 || (*calls)[0].header.Get("Ce-Subject") != want || (*calls)[0].header.Get("Ce-Seal") == "" {
			t.Errorf("%s: %+v", header, *calls)
		}
	}
}

func yes(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"ok":true}`)
}

func do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer of-somebody")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
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

func TestEachOperationReachesItsFunction(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct {
		method, path, body string
		function, data     string
	}{
		{"POST", "/v1/users", `{"account":"ann","password":"x"}`, "user-register", `{"account":"ann","password":"x"}`},
		{"GET", "/v1/users?account=ann", "", "user-search", `{"account":"ann"}`},
		{"POST", "/v1/sessions", `{"account":"ann"}`, "user-login", `{"account":"ann"}`},
		{"POST", "/v1/sessions/refresh", `{"refresh_token":"r"}`, "token-refresh", `{"refresh_token":"r"}`},
		{"DELETE", "/v1/sessions/current", "", "user-logout", `{}`},
		{"DELETE", "/v1/sessions/ssssssssssssssss", "", "session-revoke", `{"session":"ssssssssssssssss"}`},
		{"GET", "/v1/users/bbbbbbbbbbbbbbbb", "", "user-get", `{"user":"bbbbbbbbbbbbbbbb"}`},
		{"GET", "/v1/users/me", "", "user-get", `{"user":"me"}`}, // though other methods have a path of their own
		{"GET", "/v1/presence?users=bbbbbbbbbbbbbbbb,cccccccccccccccc", "", "presence-get", `{"users":"bbbbbbbbbbbbbbbb,cccccccccccccccc"}`},
		{"PUT", "/v1/groups/g/members/me/role", `{"role":"admin"}`, "group-role", `{"group":"g","role":"admin","user":"me"}`},
		{"POST", "/v1/groups/g/members", `{"users":["b"]}`, "group-invite", `{"group":"g","users":["b"]}`},
		{"DELETE", "/v1/users/me", `{"password":"x"}`, "user-delete", `{"password":"x"}`},
		{"PATCH", "/v1/users/me", `{"name":"Ann"}`, "user-update", `{"name":"Ann"}`},
		{"DELETE", "/v1/groups/g/members", `{"users":["b"]}`, "group-remove", `{"group":"g","users":["b"]}`},
		{"DELETE", "/v1/groups/g/members/me", "", "group-leave", `{"group":"g"}`},
		{"POST", "/v1/groups", `{"name":"us","members":["a","b"]}`, "group-create", `{"members":["a","b"],"name":"us"}`},
		{"GET", "/v1/inbox?after=41&limit=10", "", "message-sync", `{"after":41,"limit":10}`},
		{"GET", "/v1/inbox?after=0", "", "message-sync", `{"after":0}`},
		{"GET", "/v1/conversations/g:abc/messages", "", "message-history", `{"conversation":"g:abc"}`},
		{"GET", "/v1/conversations/d%3Aa%3Ab/messages?before=c1&limit=5", "", "message-history", `{"before":"c1","conversation":"d:a:b","limit":5}`},
		{"GET", "/v1/conversations/x%2Fy/messages?after=%22%3C", "", "message-history", `{"after":"\"<","conversation":"x/y"}`},
	} {
		*calls = nil
		resp, body := do(t, tt.method, url+tt.path, tt.body, "Authorization", "Bearer abc", "Cookie", "c=1", "X-Forwarded-For", "1.2.3.4")
		if resp.StatusCode != 200 || body != `{"ok":true}` {
			t.Errorf("%s %s: %s %s", tt.method, tt.path, resp.Status, body)
			continue
		}
		got := (*calls)[0]
		if len(*calls) != 1 || got.function != tt.function || got.data != tt.data {
			t.Errorf("%s %s: called %s with %s, want %s with %s", tt.method, tt.path, got.function, got.data, tt.function, tt.data)
		}
		for name, want := range map[string]string{
			"Ce-Type": "dev.tidings.call." + tt.function + ".v1", "Ce-Specversion": "1.0", "Ce-Source": "gateway",
			"Content-Type": "application/json", "Authorization": "Bearer abc", "Cookie": "", "X-Forwarded-For": "",
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s %s: %s is %q, want %q", tt.method, tt.path, name, got.header.Get(name), want)
			}
		}
		if got.header.Get("Ce-Id") == "" {
			t.Errorf("%s %s: the event has no id", tt.method, tt.path)
		}
	}
}

func TestRequestsThatReachNoFunction(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct {
		name               string
		method, path, body string
		header             []string
		status             int
		kind               im.Kind
		says               string
	}{
		{name: "a path that is none", method: "GET", path: "/v1/nothing", status: 404, kind: im.NotFound, says: "/v1/nothing"},
		{name: "the root", method: "GET", path: "/", status: 404, kind: im.NotFound},
		{name: "another method", method: "PUT", path: "/v1/users", status: 405, kind: im.Invalid, says: "GET, POST"},
		{name: "an unknown query parameter", method: "GET", path: "/v1/inbox?after=1&afterr=2", status: 400, kind: im.Invalid, says: "afterr"},
		{name: "a parameter twice", method: "GET", path: "/v1/inbox?after=1&after=2", status: 400, kind: im.Invalid, says: "more than once"},
		{name: "a parameter of another type", method: "GET", path: "/v1/inbox?after=one", status: 400, kind: im.Invalid, says: "integer"},
		{name: "a number that is too large", method: "GET", path: "/v1/inbox?after=99999999999999999999", status: 400, kind: im.Invalid, says: "integer"},
		{name: "an empty number", method: "GET", path: "/v1/inbox?after=", status: 400, kind: im.Invalid, says: "integer"},
		{name: "a parameter that is missing", method: "GET", path: "/v1/inbox", status: 400, kind: im.Invalid, says: "after"},
		{name: "a query that cannot be read", method: "GET", path: "/v1/inbox?after=1;limit=2", status: 400, kind: im.Invalid, says: "query"},
		{name: "a parameter that is not UTF-8", method: "GET", path: "/v1/users?account=%ff", status: 400, kind: im.Invalid, says: "UTF-8"},
		{name: "a body where there is none", method: "GET", path: "/v1/inbox?after=1", body: "{}", status: 400, kind: im.Invalid, says: "no body"},
		{name: "no body", method: "POST", path: "/v1/users", header: []string{"Content-Type", "application/json"}, status: 400, kind: im.Invalid, says: "JSON object"},
		{name: "no content type", method: "POST", path: "/v1/users", body: "{}", header: []string{"Content-Type", ""}, status: 415, kind: im.Unsupported},
		{name: "another content type", method: "POST", path: "/v1/users", body: "a=b", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, kind: im.Unsupported},
		{name: "another charset", method: "POST", path: "/v1/users", body: "{}", header: []string{"Content-Type", "application/json; charset=latin1"}, status: 415, kind: im.Unsupported},
		{name: "a body that is an array", method: "POST", path: "/v1/users", body: "[]", status: 400, kind: im.Invalid, says: "JSON object"},
		{name: "a body that is null", method: "POST", path: "/v1/users", body: "null", status: 400, kind: im.Invalid, says: "JSON object"},
		{name: "a body that breaks off", method: "POST", path: "/v1/users", body: `{"account":`, status: 400, kind: im.Invalid, says: "JSON object"},
		{name: "two bodies", method: "POST", path: "/v1/users", body: `{}{}`, status: 400, kind: im.Invalid, says: "JSON object"},
		{name: "broken UTF-8", method: "POST", path: "/v1/users", body: "{\"account\":\"\xff\"}", status: 400, kind: im.Invalid, says: "UTF-8"},
		{name: "a body that is too large", method: "POST", path: "/v1/users", body: `{"account":"` + strings.Repeat("a", 64<<10) + `"}`, status: 413, kind: im.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			*calls = nil
			resp, body := do(t, tt.method, url+tt.path, tt.body, tt.header...)
			var p im.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != problemJSON {
				t.Fatalf("%s is no problem: %s", resp.Header.Get("Content-Type"), body)
			}
			if resp.StatusCode != tt.status || p.Status != tt.status || p.Kind != tt.kind || !strings.Contains(p.Detail, tt.says) {
				t.Errorf("%s %+v, want %d %s saying %q", resp.Status, p, tt.status, tt.kind, tt.says)
			}
			if len(*calls) != 0 {
				t.Errorf("called %+v", *calls)
			}
			if tt.status == 405 && resp.Header.Get("Allow") != "OPTIONS, GET, POST" {
				t.Errorf("Allow: %s", resp.Header.Get("Allow"))
			}
		})
	}
}

// An operation of every kind of parameter, and a body beside them.
const everyKind = `
paths:
  /v1/things/{thing}:
    post:
      operationId: thing-do
      parameters:
        - {name: thing, in: path, required: true, schema: {type: integer}}
        - {name: loud, in: query, schema: {type: boolean}}
        - {name: share, in: query, schema: {type: number}}
        - {name: word, in: query, schema: {$ref: '#/components/schemas/Word'}}
      requestBody: {required: true}
components:
  schemas:
    Word: {type: string}
`

func TestParametersAndBodyBecomeOneObject(t *testing.T) {
	url, calls := serve(t, []byte(everyKind), yes)
	for _, tt := range []struct{ path, body, data, says string }{
		{"/7?loud=true&share=0.5&word=12", `{"more":[1]}`, `{"loud":true,"more":[1],"share":0.5,"thing":7,"word":"12"}`, ""},
		{"/7?word=", `{}`, `{"thing":7,"word":""}`, ""},
		{"/007", `{}`, `{"thing":7}`, ""},
		{"/7", `{"thing":8}`, "", "not a field of the body"},
		{"/7", `{"loud":false}`, "", "not a field of the body"},
		{"/7", `{"THING":8}`, "", "not a field of the body"},
		{"/x", `{}`, "", "integer"},
		{"/7?loud=yes", `{}`, "", "boolean"},
		{"/7?share=NaN", `{}`, "", "number"},
	} {
		*calls = nil
		resp, body := do(t, "POST", url+"/v1/things"+tt.path, tt.body)
		switch {
		case tt.says != "" && (resp.StatusCode != 400 || !strings.Contains(body, tt.says)):
			t.Errorf("%s %s: %s %s, want 400 saying %q", tt.path, tt.body, resp.Status, body, tt.says)
		case tt.says == "" && (len(*calls) != 1 || (*calls)[0].data != tt.data):
			t.Errorf("%s %s: called with %+v, want %s", tt.path, tt.body, *calls, tt.data)
		}
	}
}

func TestABodyThatMayBeLeftOut(t *testing.T) {
	spec := strings.Replace(everyKind, "{required: true}\ncomponents", "{}\ncomponents", 1)
	url, calls := serve(t, []byte(spec), yes)
	for body, want := range map[string]string{"": `{"thing":7}`, `{"more":1}`: `{"more":1,"thing":7}`} {
		*calls = nil
		if resp, _ := do(t, "POST", url+"/v1/things/7", body); resp.StatusCode != 200 || len(*calls) != 1 || (*calls)[0].data != want {
			t.Errorf("%q: %s, %+v", body, resp.Status, *calls)
		}
	}
}

func TestAnIdempotencyKeyIsPassedOnWhereTheContractHasIt(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct{ method, path, body, want string }{
		{"PATCH", "/v1/users/me", `{"name":"Ann"}`, "key-1"},
		{"POST", "/v1/sessions", `{"account":"ann"}`, ""},
		{"GET", "/v1/users/me", "", ""},
	} {
		*calls = nil
		do(t, tt.method, url+tt.path, tt.body, fn.IdempotencyKey, "key-1")
		if len(*calls) != 1 || (*calls)[0].header.Get(fn.IdempotencyKey) != tt.want {
			t.Errorf("%s %s: %+v", tt.method, tt.path, *calls)
		}
	}
}

func TestWhatElseIsDoneAtAPath(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"OPTIONS", "/v1/users/me", 204, "OPTIONS, GET, PATCH, DELETE"}, // by two paths of the contract
		{"OPTIONS", "/v1/users/bbbbbbbbbbbbbbbb", 204, "OPTIONS, GET"},
		{"POST", "/v1/users/me", 405, "OPTIONS, GET, PATCH, DELETE"},
		{"HEAD", "/v1/users/me", 405, "OPTIONS, GET, PATCH, DELETE"},
		{"OPTIONS", "/v1/groups/g/members/me", 204, "OPTIONS, DELETE"},
		{"DELETE", "/v1/groups/g/members/bbbbbbbbbbbbbbbb", 404, ""},
		{"OPTIONS", "/v1/nothing", 404, ""},
	} {
		resp, _ := do(t, tt.method, url+tt.path, "")
		if resp.StatusCode != tt.status || resp.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %s, Allow: %s", tt.method, tt.path, resp.Status, resp.Header.Get("Allow"))
		}
	}
	if len(*calls) > 0 {
		t.Errorf("called %+v", *calls)
	}
}

func TestAnswersArePassedOn(t *testing.T) {
	var answer atomic.Pointer[http.HandlerFunc]
	url, _ := serve(t, tidings.OpenAPI, func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) })
	const problem = `{"kind":"conflict","title":"Conflict","detail":"the account is taken","status":409}`
	for _, tt := range []struct {
		name       string
		answer     http.HandlerFunc
		status     int
		body       string // within it
		retryAfter string
	}{
		{name: "no content", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, status: 204},
		{name: "a problem", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", problemJSON)
			w.WriteHeader(409)
			io.WriteString(w, problem)
		}, status: 409, body: problem},
		{name: "too much", answer: func(w http.ResponseWriter, _ *http.Request) {
			fn.WriteProblem(w, 429, &im.Error{Kind: im.Overloaded, Msg: "slowly", RetryAfter: 7e9})
		}, status: 429, body: "slowly", retryAfter: "7"},
		{name: "a redirect is not followed", answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, status: 503, body: `"unavailable"`},
		{name: "a proxy that does not know the function", answer: http.NotFound, status: 503, body: `"unavailable"`},
		{name: "a proxy that cannot reach it", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, status: 503, body: `"unavailable"`},
		{name: "a proxy that has too much to do", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, status: 429, body: `"overloaded"`, retryAfter: "1"},
		{name: "a page", answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, status: 503, body: `"unavailable"`},
		{name: "a page in the shape of an error", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", problemJSON)
			w.WriteHeader(403)
			io.WriteString(w, `{"type":"about:blank","title":"Forbidden","status":403}`)
		}, status: 503, body: `"unavailable"`},
		{name: "a queue that has taken it", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(202)
			io.WriteString(w, `{}`)
		}, status: 503, body: `"unavailable"`},
		{name: "the connection breaks off", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status: 503, body: `"unavailable"`},
		{name: "headers of its own stay behind", answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "a=b")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			yes(w, r)
		}, status: 200, body: "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer.Store(&tt.answer)
			resp, body := do(t, "GET", url+"/v1/inbox?after=1", "")
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) || resp.Header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("%s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), body)
			}
			if resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("passed on %v", resp.Header)
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
				if resp.Header.Get(name) != want {
					t.Errorf("%s: %q", name, resp.Header.Get(name))
				}
			}
		})
	}
}

func TestAFunctionThatIsDownIsUnavailable(t *testing.T) {
	url := gateway(t, tidings.OpenAPI, "http://127.0.0.1:1")
	if resp, body := do(t, "GET", url+"/v1/inbox?after=1", ""); resp.StatusCode != 503 || !strings.Contains(body, `"unavailable"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// A function may die while it answers, or a proxy before it.
func TestAnAnswerThatIsCutOffIsNoAnswer(t *testing.T) {
	const head, body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", `{"messages":[{"id":"1"},{"id":"2"}]}`
	for name, tt := range map[string]struct {
		answer string
		status int
	}{
		"of a length, whole":          {head + "Content-Length: 36\r\n\r\n" + body, http.StatusOK},
		"of a length":                 {head + "Content-Length: 36\r\n\r\n" + body[:24], http.StatusServiceUnavailable},
		"in chunks, whole":            {head + "Transfer-Encoding: chunked\r\n\r\n18\r\n" + body[:24] + "\r\nc\r\n" + body[24:] + "\r\n0\r\n\r\n", http.StatusOK},
		"in a chunk":                  {head + "Transfer-Encoding: chunked\r\n\r\n24\r\n" + body[:24], http.StatusServiceUnavailable},
		"between chunks":              {head + "Transfer-Encoding: chunked\r\n\r\n18\r\n" + body[:24] + "\r\n", http.StatusServiceUnavailable},
		"before the end of chunks":    {head + "Transfer-Encoding: chunked\r\n\r\n24\r\n" + body + "\r\n", http.StatusServiceUnavailable},
		"until it is closed, whole":   {head + "Connection: close\r\n\r\n" + body, http.StatusOK},
		"that was to be until closed": {head + "Connection: close\r\n\r\n" + body[:24], http.StatusServiceUnavailable},
	} {
		url, _ := serve(t, tidings.OpenAPI, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, tt.answer)
		})
		resp, got := do(t, "GET", url+"/v1/inbox?after=0", "")
		if resp.StatusCode != tt.status || tt.status == http.StatusOK && got != body {
			t.Errorf("%s: %s %s", name, resp.Status, got)
		}
	}
}

func TestP7ACallThatIsSlowToComeTakesNoPlaceOfOthers(t *testing.T) {
	functions := httptest.NewServer(http.HandlerFunc(yes))
	defer functions.Close()
	paths, err := operations(tidings.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	register := paths["/v1/users"][http.MethodPost]
	a := newAPI(config(t, tidings.OpenAPI, functions.URL), 1)
	call := func(body io.Reader) int {
		r := httptest.NewRequest(http.MethodPost, "/v1/users", body)
		r.Header.Set("Content-Type", event.JSON)
		w := httptest.NewRecorder()
		a.call(w, r, &register)
		return w.Code
	}
	body, client := io.Pipe()
	slow := make(chan int)
	go func() { slow <- call(body) }()
	io.WriteString(client, `{"account":`) // returns when that is read
	if status := call(strings.NewReader(`{}`)); status != http.StatusOK {
		t.Errorf("while another is on its way: %d", status)
	}
	io.WriteString(client, `"ann"}`)
	client.Close()
	if status := <-slow; status != http.StatusOK {
		t.Errorf("the slow one: %d", status)
	}
	a.slots <- struct{}{}
	if status := call(strings.NewReader(`{}`)); status != http.StatusTooManyRequests {
		t.Errorf("one too many: %d", status)
	}
}

func TestPagesOfOtherOrigins(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes, "https://chat.example.org")
	for _, tt := range []struct {
		name, method, origin string
		header               []string
		allow, methods       string
		status               int
	}{
		{name: "a call of an allowed page", method: "GET", origin: "https://chat.example.org", allow: "https://chat.example.org", status: 200},
		{name: "a call of another page", method: "GET", origin: "https://evil.example.org", status: 200},
		{name: "a preflight of an allowed page", method: "OPTIONS", origin: "https://chat.example.org", header: []string{"Access-Control-Request-Method", "GET"},
			allow: "https://chat.example.org", methods: "OPTIONS, GET", status: 204},
		{name: "a preflight of another page", method: "OPTIONS", origin: "https://evil.example.org", header: []string{"Access-Control-Request-Method", "GET"}, status: 204},
		{name: "no page at all", method: "OPTIONS", status: 204},
	} {
		t.Run(tt.name, func(t *testing.T) {
			*calls = nil
			header := tt.header
			if tt.origin != "" {
				header = append(header, "Origin", tt.origin)
			}
			resp, _ := do(t, tt.method, url+"/v1/inbox?after=1", "", header...)
			h := resp.Header
			if resp.StatusCode != tt.status || h.Get("Access-Control-Allow-Origin") != tt.allow || h.Get("Access-Control-Allow-Methods") != tt.methods || h.Get("Vary") != "Origin" {
				t.Errorf("%s %v", resp.Status, h)
			}
			if h.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("cookies are allowed")
			}
			if tt.methods != "" && h.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type, Idempotency-Key" {
				t.Errorf("allowed headers %q", h.Get("Access-Control-Allow-Headers"))
			}
			if tt.method == "OPTIONS" && len(*calls) != 0 {
				t.Error("a preflight reached a function")
			}
		})
	}
}

func TestTheContractIsServed(t *testing.T) {
	url, _ := serve(t, tidings.OpenAPI, yes)
	resp, body := do(t, "GET", url+"/openapi.yaml", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/yaml" || body != string(tidings.OpenAPI) {
		t.Errorf("%s %s, %d bytes", resp.Status, resp.Header.Get("Content-Type"), len(body))
	}
	if resp, _ := do(t, "POST", url+"/openapi.yaml", ""); resp.StatusCode != 405 {
		t.Errorf("posting it: %s", resp.Status)
	}
}

func TestAContractThatCannotBeRoutedIsRefused(t *testing.T) {
	for name, spec := range map[string]string{
		"no YAML":                       "a: [",
		"no paths":                      "openapi: 3.1.0",
		"no operationId":                "paths: {/a: {get: {}}}",
		"a parameter in a header":       "paths: {/a: {get: {operationId: f, parameters: [{name: x, in: header, schema: {type: string}}]}}}",
		"a parameter not in its path":   "paths: {/a: {get: {operationId: f, parameters: [{name: x, in: path, schema: {type: string}}]}}}",
		"a parameter that is an object": "paths: {/a: {get: {operationId: f, parameters: [{name: x, in: query, schema: {type: object}}]}}}",
		"a parameter without a name":    "paths: {/a: {get: {operationId: f, parameters: [{in: query, schema: {type: string}}]}}}",
		"a method that is none":         "paths: {/a: {brew: {operationId: f}}}",
		"a schema that is not there":    "paths: {/a: {get: {operationId: f, parameters: [{name: x, in: query, schema: {$ref: '#/components/schemas/X'}}]}}}",
	} {
		if _, err := operations([]byte(spec)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestAContractOfPathsThatCannotBeToldApartIsRefused(t *testing.T) {
	spec := `{info: {title: T}, paths: {'/{a}/x': {get: {operationId: f, summary: F}}, '/x/{b}': {get: {operationId: g, summary: G}}}}`
	if _, err := New(config(t, []byte(spec), "")); err == nil || !strings.Contains(err.Error(), "/x/{b}") {
		t.Errorf("error = %v", err)
	}
}

// What a function says of a call goes all the way back.
func TestACallOfARealFunction(t *testing.T) {
	type in struct {
		After int64 `json:"after"`
		Limit int   `json:"limit"`
	}
	env := proc.NewEnv(func(string) string { return "" }, slog.New(slog.DiscardHandler))
	functions, err := fn.Mount(t.Context(), env, fn.Func{Name: "message-sync", Accepts: "dev.tidings.call.message-sync.v1",
		New: func(context.Context, *proc.Env) (fn.Handler, error) {
			return fn.Call(func(_ context.Context, in in) (map[string]int64, error) {
				if in.After == 13 {
					return nil, im.Errorf(im.Denied, "not thirteen")
				}
				return map[string]int64{"after": in.After}, nil
			}), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(functions)
	defer srv.Close()
	url := gateway(t, tidings.OpenAPI, srv.URL)
	if resp, body := do(t, "GET", url+"/v1/inbox?after=12", ""); resp.StatusCode != 200 || body != `{"after":12}`+"\n" {
		t.Errorf("%s %s", resp.Status, body)
	}
	if resp, body := do(t, "GET", url+"/v1/inbox?after=13", ""); resp.StatusCode != 403 || !strings.Contains(body, "not thirteen") {
		t.Errorf("%s %s", resp.Status, body)
	}
}
