package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed docs.css
var docsCSS []byte

// render returns the contract as a page for people.
func render(spec []byte) ([]byte, error) {
	b := &booklet{}
	if err := yaml.UnmarshalWithOptions(spec, &b.root, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("reading the contract: %w", err)
	}
	content := b.content()
	if b.err != nil {
		return nil, b.err
	}
	var p writer
	p.content(content)
	if p.err != nil {
		return nil, p.err
	}
	return []byte(p.out.String()), nil
}

// A booklet is the contract on its way to a page. It remembers the first thing
// that is wrong with it.
type booklet struct {
	root yaml.MapSlice
	err  error
}

type (
	content struct {
		Title, Version, About string
		Groups                []group
		Errors                []outcome
		Schemas               []namedShape
	}
	group struct {
		Name, About string
		Operations  []entry
	}
	entry struct {
		ID, Method, Path, Summary, About string
		Open                             bool // needs no access token
		Parameters                       []field
		Body                             *media
		Answers                          []outcome
		Errors                           []outcome
	}
	media struct {
		Required bool
		Shape    *shape
		Examples []example
	}
	outcome struct {
		Status, Name, About string
		Media               *media
	}
	example    struct{ Name, Text string }
	namedShape struct {
		Name string
		*shape
	}
	// A field is a parameter, or a property of an object.
	field struct {
		Name, In, About, Example string
		Required                 bool
		*shape
	}
	// A shape is a schema, as far as it is shown.
	shape struct {
		Ref    string // name of the schema that it is
		Type   string
		Of     string // of an array, the Ref or Type of its items
		Limits []string
		About  string
		Fields []field
		Either []*shape
	}
)

func (b *booklet) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// object returns v as a mapping, whose keys are strings; what is none has no
// keys.
func object(v any) yaml.MapSlice {
	m, _ := v.(yaml.MapSlice)
	return m
}

func get(v any, keys ...string) any {
	for _, key := range keys {
		m := object(v)
		v = nil
		for _, item := range m {
			if item.Key == any(key) {
				v = item.Value
				break
			}
		}
	}
	return v
}

func str(v any, keys ...string) string {
	if v = get(v, keys...); v == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(v))
}

func list(v any, keys ...string) []any {
	l, _ := get(v, keys...).([]any)
	return l
}

// resolve follows v if it is a reference. name is the last part of it.
func (b *booklet) resolve(v any) (at any, name string) {
	for range 8 {
		ref := str(v, "$ref")
		if ref == "" {
			return v, name
		}
		path, ok := strings.CutPrefix(ref, "#/")
		keys := strings.Split(path, "/")
		if v = get(b.root, keys...); !ok || v == nil {
			b.fail("the contract refers to %s, which is not there", ref)
			return nil, ""
		}
		name = keys[len(keys)-1]
	}
	b.fail("the contract refers in a circle, by way of %s", name)
	return nil, ""
}

func (b *booklet) content() content {
	c := content{Title: str(b.root, "info", "title"), Version: str(b.root, "info", "version"), About: str(b.root, "info", "description")}
	for _, tag := range list(b.root, "tags") {
		c.Groups = append(c.Groups, group{Name: str(tag, "name"), About: str(tag, "description")})
	}
	for _, path := range object(get(b.root, "paths")) {
		for _, method := range object(path.Value) {
			tag, e := "", b.entry(fmt.Sprint(method.Key), fmt.Sprint(path.Key), method.Value)
			if tags := list(method.Value, "tags"); len(tags) > 0 {
				tag = fmt.Sprint(tags[0])
			}
			i := slices.IndexFunc(c.Groups, func(g group) bool { return g.Name == tag })
			if i < 0 {
				i = len(c.Groups)
				c.Groups = append(c.Groups, group{Name: tag})
			}
			c.Groups[i].Operations = append(c.Groups[i].Operations, e)
		}
	}
	for _, item := range object(get(b.root, "components", "responses")) {
		if a := b.answer("", item.Value); a.isProblem(b, item.Value) {
			a.Name = fmt.Sprint(item.Key)
			c.Errors = append(c.Errors, a)
		}
	}
	for _, item := range object(get(b.root, "components", "schemas")) {
		c.Schemas = append(c.Schemas, namedShape{fmt.Sprint(item.Key), b.shape(item.Value, nil)})
	}
	return c
}

func (b *booklet) entry(method, path string, v any) entry {
	e := entry{
		ID: str(v, "operationId"), Method: strings.ToUpper(method), Path: path,
		Summary: str(v, "summary"), About: str(v, "description"),
	}
	if security, given := get(v, "security").([]any); given {
		e.Open = len(security) == 0
	}
	for _, p := range list(v, "parameters") {
		p, _ := b.resolve(p)
		f := field{Name: str(p, "name"), In: str(p, "in"), About: str(p, "description"), Required: get(p, "required") == true, shape: b.shape(get(p, "schema"), nil)}
		if f.About == "" {
			f.About = f.shape.About
		}
		if ex := get(p, "example"); ex != nil {
			f.Example = fmt.Sprint(ex)
		}
		e.Parameters = append(e.Parameters, f)
	}
	if body := get(v, "requestBody"); body != nil {
		body, _ := b.resolve(body)
		if e.Body = b.media(body); e.Body != nil {
			e.Body.Required = get(body, "required") == true
		}
	}
	for _, r := range object(get(v, "responses")) {
		if a := b.answer(fmt.Sprint(r.Key), r.Value); a.isProblem(b, r.Value) {
			e.Errors = append(e.Errors, a)
		} else {
			e.Answers = append(e.Answers, a)
		}
	}
	return e
}

func (b *booklet) answer(status string, v any) outcome {
	v, name := b.resolve(v)
	return outcome{Status: status, Name: name, About: str(v, "description"), Media: b.media(v)}
}

// isProblem reports whether a is an error.
func (a outcome) isProblem(b *booklet, v any) bool {
	v, _ = b.resolve(v)
	return get(v, "content", problemJSON) != nil
}

// media returns the first media type of what v, a body or an answer, holds.
func (b *booklet) media(v any) *media {
	types := object(get(v, "content"))
	if len(types) == 0 {
		return nil
	}
	t := types[0].Value
	m := &media{Shape: b.shape(get(t, "schema"), nil)}
	if ex := get(t, "example"); ex != nil {
		m.Examples = append(m.Examples, example{Text: b.pretty(ex)})
	}
	for _, ex := range object(get(t, "examples")) {
		v, _ := b.resolve(ex.Value)
		name := str(v, "summary")
		if name == "" {
			name = fmt.Sprint(ex.Key)
		}
		m.Examples = append(m.Examples, example{name, b.pretty(get(v, "value"))})
	}
	return m
}

// pretty returns v as JSON with its keys in their order.
func (b *booklet) pretty(v any) string {
	var out bytes.Buffer
	line, err := yaml.MarshalWithOptions(v, yaml.JSON())
	if err == nil {
		err = json.Indent(&out, bytes.TrimSpace(line), "", "  ")
	}
	if err != nil {
		b.fail("writing an example: %w", err)
	}
	return out.String()
}

// shape returns a schema with those that it refers to in their places, except
// those that it is within, by their names.
func (b *booklet) shape(v any, within []string) *shape {
	if v == nil {
		return &shape{Type: "any"}
	}
	at, name := b.resolve(v)
	if name != "" && slices.Contains(within, name) {
		return &shape{Ref: name, Type: "object"}
	}
	if name != "" {
		within = append(slices.Clip(within), name)
	}
	s := &shape{Ref: name, Type: typeOf(at), Limits: limitsOf(at), About: str(at, "description")}
	if name != "" && str(v, "description") != "" {
		s.About = str(v, "description")
	}
	all := list(at, "allOf")
	for _, part := range all {
		p := b.shape(part, within)
		if len(all) == 1 && len(object(get(at, "properties"))) == 0 {
			s.Ref = p.Ref // a schema with words of its own
		}
		if s.Type == "any" {
			s.Type, s.Of = p.Type, p.Of
		}
		if s.About == "" && len(all) == 1 {
			s.About = p.About
		}
		s.Limits = append(s.Limits, p.Limits...)
		s.Fields = append(s.Fields, p.Fields...)
		s.Either = append(s.Either, p.Either...)
	}
	for _, alternatives := range [][]any{list(at, "oneOf"), list(at, "anyOf")} {
		for _, a := range alternatives {
			s.Either = append(s.Either, b.shape(a, within))
		}
	}
	if items := get(at, "items"); items != nil {
		of := b.shape(items, within)
		s.Of = of.Type
		if of.Ref != "" {
			s.Of = of.Ref
		}
		s.Fields, s.Either = of.Fields, of.Either
	}
	required := list(at, "required")
	for _, p := range object(get(at, "properties")) {
		inner := b.shape(p.Value, within)
		s.Fields = append(s.Fields, field{
			Name: fmt.Sprint(p.Key), About: inner.About, shape: inner,
			Required: slices.ContainsFunc(required, func(r any) bool { return r == p.Key }),
		})
		if s.Type == "any" {
			s.Type = "object"
		}
	}
	return s
}

func typeOf(v any) string {
	switch t := get(v, "type").(type) {
	case string:
		return t
	case []any:
		var names []string
		for _, name := range t {
			names = append(names, fmt.Sprint(name))
		}
		return strings.Join(names, " or ")
	}
	switch {
	case get(v, "enum") != nil, get(v, "const") != nil, get(v, "pattern") != nil:
		return "string"
	}
	return "any"
}

// limitsOf returns in words what a schema asks of a value beside its type.
func limitsOf(v any) []string {
	var limits []string
	for _, l := range []struct{ key, say string }{
		{"format", "%s"}, {"minimum", "≥ %s"}, {"maximum", "≤ %s"}, {"minLength", "at least %s characters"}, {"maxLength", "at most %s characters"},
		{"minItems", "at least %s"}, {"maxItems", "at most %s"}, {"minProperties", "at least %s of them"}, {"pattern", "like %s"}, {"const", "%s"}, {"default", "%s if left out"},
	} {
		if at := get(v, l.key); at != nil {
			limits = append(limits, fmt.Sprintf(l.say, fmt.Sprint(at)))
		}
	}
	if values := list(v, "enum"); len(values) > 0 {
		var names []string
		for _, value := range values {
			names = append(names, fmt.Sprint(value))
		}
		limits = append(limits, strings.Join(names, ", "))
	}
	return limits
}
