package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidings-im/tidings"
	"github.com/tidings-im/tidings/shared/fn"
)

// A contract is openapi.yaml, as requests and answers are held to it. In
// answers nothing may be that the contract does not name; clients are told to
// ignore what they do not know, but not so that it can stay undocumented.
type contract struct {
	doc        map[string]any
	operations []*operation
}

// An operation is one of the contract.
type operation struct {
	id, method string
	path       []string // its segments
	parameters []parameter
	body       *content           // nil if it takes none
	bodiless   bool               // the body can be left out
	answers    map[string]content // by status
	anybody    bool               // may be called without an access token
}

type parameter struct {
	name, in string
	required bool
	schema   *jsonschema.Schema
	raw      map[string]any // the schema as it stands there
	example  any            // nil if there is none
}

// content is a body: its media type, its schema and an example of it.
type content struct {
	media   string
	schema  *jsonschema.Schema
	raw     map[string]any
	example any
}

// readContract reads openapi.yaml, once.
var readContract = sync.OnceValues(func() (*contract, error) {
	b, err := yaml.YAMLToJSON(tidings.OpenAPI)
	if err != nil {
		return nil, err
	}
	c := &contract{}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	c.doc = v.(map[string]any)
	closeSchemas(c.doc)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020) // which OpenAPI 3.1 extends
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", c.doc); err != nil {
		return nil, err
	}
	for path, item := range c.object(c.doc["paths"]) {
		for method, v := range c.object(item) {
			op, err := c.operation(compiler, path, method, c.object(v))
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			c.operations = append(c.operations, op)
		}
	}
	slices.SortFunc(c.operations, func(a, b *operation) int { return strings.Compare(a.id, b.id) })
	return c, nil
})

// closeSchemas lets no schema take properties that it does not name. It is
// where a schema is used that this is said, so that schemas can extend others.
func closeSchemas(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeSchemas(e)
		}
	case map[string]any:
		for key, e := range v {
			s, ok := e.(map[string]any)
			switch {
			case key == "allOf" || key == "anyOf": // they are closed where they are used
				for _, part := range e.([]any) {
					for key, e := range part.(map[string]any) {
						closeSchemas(map[string]any{key: e})
					}
				}
				continue
			case key == "properties" && ok:
				for _, p := range s {
					closeSchema(p)
				}
			case key == "schema" || key == "items":
				closeSchema(e)
			case key == "example" || key == "examples":
				continue
			}
			closeSchemas(e)
		}
	}
}

func closeSchema(v any) {
	s, ok := v.(map[string]any)
	if !ok {
		return
	}
	_, said := s["additionalProperties"]
	for _, key := range []string{"$ref", "properties", "allOf", "anyOf"} {
		if _, is := s[key]; is && !said {
			s["unevaluatedProperties"] = false
		}
	}
}

// object returns v as an object, or what it refers to.
func (c *contract) object(v any) map[string]any {
	o, _ := v.(map[string]any)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	var at any = c.doc
	for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		m, _ := at.(map[string]any)
		at = m[step]
	}
	return c.object(at)
}

// where returns the JSON pointer of a step below v, which is at a pointer or
// refers to another.
func (c *contract) where(pointer string, v any, steps ...string) string {
	if ref, ok := v.(map[string]any)["$ref"].(string); ok {
		pointer = ref
	}
	for _, s := range steps {
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
	}
	return pointer
}

func (c *contract) operation(compiler *jsonschema.Compiler, path, method string, o map[string]any) (*operation, error) {
	op := &operation{method: strings.ToUpper(method), path: strings.Split(path, "/"), answers: make(map[string]content)}
	op.id, _ = o["operationId"].(string)
	security, ok := o["security"].([]any)
	op.anybody = ok && len(security) == 0 || slices.ContainsFunc(security, func(v any) bool { return len(c.object(v)) == 0 })
	at := c.where("#/paths", o, path, method)
	list, _ := o["parameters"].([]any)
	for i, v := range list {
		p := c.object(v)
		schema, err := compiler.Compile("openapi.json" + c.where(c.where(at, o, "parameters", strconv.Itoa(i)), v, "schema"))
		if err != nil {
			return nil, err
		}
		par := parameter{schema: schema, example: p["example"]}
		par.name, _ = p["name"].(string)
		par.in, _ = p["in"].(string)
		par.required, _ = p["required"].(bool)
		par.raw = c.object(p["schema"])
		op.parameters = append(op.parameters, par)
	}
	if body, ok := o["requestBody"]; ok {
		is, err := c.content(compiler, c.where(at, o, "requestBody"), body)
		if err != nil {
			return nil, err
		}
		op.body = &is
		required, _ := c.object(body)["required"].(bool)
		op.bodiless = !required
	}
	responses, _ := o["responses"].(map[string]any)
	for status, v := range responses {
		is, err := c.content(compiler, c.where(at, o, "responses", status), v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", status, err)
		}
		op.answers[status] = is
	}
	return op, nil
}

// content reads a request body or a response, which is at a pointer.
func (c *contract) content(compiler *jsonschema.Compiler, at string, v any) (content, error) {
	types := c.object(c.object(v)["content"])
	if len(types) != 1 {
		return content{}, fmt.Errorf("there are %d media types; one is enough", len(types))
	}
	media := slices.Collect(maps.Keys(types))[0]
	typ := c.object(types[media])
	schema, err := compiler.Compile("openapi.json" + c.where(at, v, "content", media, "schema"))
	if err != nil {
		return content{}, err
	}
	is := content{media: media, schema: schema, raw: c.object(typ["schema"]), example: typ["example"]}
	for name, e := range c.object(typ["examples"]) {
		if is.example != nil {
			return content{}, fmt.Errorf("the example %s is a second one; one is executed", name)
		}
		is.example = c.object(e)["value"]
	}
	return is, nil
}

// find returns the operation of a request and the parameters in its path; of
// two that match, the one that names more of it.
func (c *contract) find(method, path string) (*operation, map[string]string) {
	segments := strings.Split(path, "/")
	var best *operation
	var values map[string]string
	for _, op := range c.operations {
		if op.method != method || len(op.path) != len(segments) {
			continue
		}
		found := make(map[string]string)
		for i, s := range op.path {
			if strings.HasPrefix(s, "{") {
				found[strings.Trim(s, "{}")] = segments[i]
			} else if s != segments[i] {
				found = nil
				break
			}
		}
		if found != nil && (best == nil || len(found) < len(values)) {
			best, values = op, found
		}
	}
	return best, values
}

// checkRequest reports what in a request the contract does not allow.
func (op *operation) checkRequest(path map[string]string, query url.Values, header http.Header, body []byte) error {
	known := make(map[string]bool)
	for _, p := range op.parameters {
		var value string
		given := true
		switch p.in {
		case "path":
			var err error
			if value, err = url.PathUnescape(path[p.name]); err != nil {
				return err
			}
		case "query":
			known[p.name] = true
			value = query.Get(p.name)
			given = value != "" || query.Has(p.name) && p.required
		case "header":
			value = header.Get(p.name)
			given = value != ""
		}
		if !given {
			if p.required {
				return fmt.Errorf("the parameter %q is missing", p.name)
			}
			continue
		}
		if err := p.schema.Validate(p.read(value)); err != nil {
			return fmt.Errorf("the parameter %q is %q: %w", p.name, value, err)
		}
	}
	for name := range query {
		if !known[name] {
			return fmt.Errorf("the query parameter %q is not in the contract", name)
		}
	}
	if header.Get(fn.IdempotencyKey) != "" && !slices.ContainsFunc(op.parameters, func(p parameter) bool { return p.name == fn.IdempotencyKey }) {
		return fmt.Errorf("it takes no %s", fn.IdempotencyKey)
	}
	if op.bodiless && len(body) == 0 {
		return nil
	}
	if op.body == nil {
		if len(body) > 0 {
			return errors.New("it takes no body")
		}
		return nil
	}
	if op.body.check(header, without(body, "null")) == nil {
		return nil
	}
	return op.body.check(header, without(body, "null", `""`))
}

// without leaves out of a request what counts as left out: fields that are
// null, and those that are empty and could not be.
func without(body []byte, values ...string) []byte {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return body
	}
	maps.DeleteFunc(all, func(_ string, v json.RawMessage) bool { return slices.Contains(values, string(v)) })
	body, _ = json.Marshal(all) // it was read from JSON
	return body
}

// read returns the value of a parameter as JSON has it.
func (p *parameter) read(s string) any {
	if p.raw["type"] != "string" {
		if v, err := jsonschema.UnmarshalJSON(strings.NewReader(s)); err == nil {
			return v
		}
	}
	return s
}

func (c *content) check(header http.Header, body []byte) error {
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if media != c.media {
		return fmt.Errorf("it is %s, and is to be %s", media, c.media)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.schema.Validate(v)
}

// checkAnswer reports what in an answer the contract does not allow.
func (op *operation) checkAnswer(status int, header http.Header, body []byte) error {
	a, ok := op.answers[strconv.Itoa(status)]
	if !ok && status >= 400 {
		a, ok = op.answers["default"]
	}
	if !ok {
		return fmt.Errorf("the status %d is not in the contract", status)
	}
	if err := a.check(header, body); err != nil {
		return fmt.Errorf("the answer %d %.200s: %w", status, body, err)
	}
	if status < 400 {
		return nil
	}
	if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" {
		return errors.New("the answer 429 does not say when to come again")
	}
	var p struct{ Status int }
	if err := json.Unmarshal(body, &p); err != nil || p.Status != status {
		return fmt.Errorf("the problem of %d says that the status is %d", status, p.Status)
	}
	return nil
}

// A recorder is a transport that holds every call of the API to the contract.
type recorder struct {
	next http.RoundTripper

	mu    sync.Mutex
	calls map[string]int // by operation
	wrong []string
}

// RoundTrip sends a request and, if it is one of the API, checks it and its answer.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(req.URL.Path, "/v1/") {
		return r.next.RoundTrip(req)
	}
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err := r.check(req, sent, resp, got); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.wrong) < 20 {
			r.wrong = append(r.wrong, fmt.Sprintf("%s %s: %v", req.Method, req.URL.Path, err))
		}
	}
	return resp, nil
}

func (r *recorder) check(req *http.Request, sent []byte, resp *http.Response, got []byte) error {
	c, err := readContract()
	if err != nil {
		return err
	}
	op, path := c.find(req.Method, req.URL.EscapedPath())
	if op == nil { // there is nothing
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			return fmt.Errorf("it is not in the contract, and is answered by %d", resp.StatusCode)
		}
		return nil
	}
	r.mu.Lock()
	r.calls[op.id]++
	r.mu.Unlock()
	if resp.StatusCode < 300 {
		if err := op.checkRequest(path, req.URL.Query(), req.Header, sent); err != nil {
			return fmt.Errorf("the contract does not allow what is done: %w", err)
		}
	}
	return op.checkAnswer(resp.StatusCode, resp.Header, got)
}
