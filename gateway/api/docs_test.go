package api

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tidings-im/tidings"
)

// ids returns the ids and the links within a page, which is well-formed.
func ids(t *testing.T, html string) (ids, links []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Entity = xml.HTMLEntity
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return ids, links
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if e.Name.Local == "script" || e.Name.Local == "style" {
			t.Errorf("the page has a %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch {
			case a.Name.Local == "id":
				ids = append(ids, a.Value)
			case a.Name.Local == "href" && strings.HasPrefix(a.Value, "#"):
				links = append(links, a.Value[1:])
			case strings.HasPrefix(a.Name.Local, "on"), a.Name.Local == "style", a.Name.Local == "src":
				t.Errorf("the page has %s=%q", a.Name.Local, a.Value)
			}
		}
	}
}

func TestThePageHasAllOfTheContract(t *testing.T) {
	page, err := render(tidings.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	html := string(page)
	have, links := ids(t, html)
	for i, id := range have {
		if slices.Contains(have[:i], id) {
			t.Errorf("two places are called %s", id)
		}
	}
	for _, to := range links {
		if !slices.Contains(have, to) {
			t.Errorf("a link leads to %s, which is not there", to)
		}
	}
	var doc struct {
		Paths      map[string]map[string]map[string]any `yaml:"paths"`
		Components struct {
			Schemas map[string]any `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(tidings.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			id := op["operationId"].(string)
			_, article, ok := strings.Cut(html, `<article id="`+id+`">`)
			if !ok {
				t.Errorf("%s is not there", id)
				continue
			}
			article, _, _ = strings.Cut(article, "</article>")
			if summary, _ := phrase(op["summary"].(string)); !strings.Contains(article, ">"+strings.ToUpper(method)+"<") || !strings.Contains(article, "<code>"+path+"</code>") || !strings.Contains(article, string(summary)) {
				t.Errorf("%s does not say what it is:\n%.600s", id, article)
			}
			if op["requestBody"] != nil != strings.Contains(article, "<h4>Body") || op["parameters"] != nil != strings.Contains(article, "<h4>Parameters") || !strings.Contains(article, "<h4>Answer") {
				t.Errorf("%s lacks its body, parameters or answer", id)
			}
		}
	}
	for name := range doc.Components.Schemas {
		if !slices.Contains(have, "schema-"+name) {
			t.Errorf("the schema %s is not there", name)
		}
	}
	for _, pre := range regexp.MustCompile(`(?s)<pre>(.*?)</pre>`).FindAllStringSubmatch(html, -1) {
		text := strings.NewReplacer("&#34;", `"`, "&amp;", "&", "&lt;", "<", "&gt;", ">", "&#39;", "'", "&#43;", "+").Replace(pre[1])
		if !json.Valid([]byte(text)) {
			t.Errorf("an example is no JSON: %s", text)
		}
	}
	if len(page) > 2<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
}

// A contract of everything that a page shows in a way of its own.
const everyShape = `
info: {title: Things, version: '2', description: "One.\n\nTwo **loud** and ` + "`<code>`" + `."}
tags: [{name: things, description: What there is.}]
paths:
  /v1/things:
    post:
      operationId: thing-make
      tags: [things]
      summary: Make a <thing>
      security: []
      parameters:
        - $ref: '#/components/parameters/Limit'
      requestBody:
        content:
          application/json:
            schema: {$ref: '#/components/schemas/Thing'}
            examples:
              small: {value: {z: 1, a: [true, null]}}
              other: {$ref: '#/components/examples/Other'}
      responses:
        '200': {description: Made., content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Thing'}}}}}
        '404': {$ref: '#/components/responses/Gone'}
components:
  parameters:
    Limit: {name: limit, in: query, description: How many., schema: {type: integer, minimum: 1, maximum: 9, default: 5}, example: 7}
  examples:
    Other: {summary: another one, value: {b: x}}
  responses:
    Gone: {description: It is gone., content: {application/problem+json: {schema: {type: object}, example: {kind: not-found}}}}
  schemas:
    Name: {type: string, maxLength: 3, description: A name.}
    Thing:
      description: Some thing.
      allOf:
        - type: object
          required: [name]
          properties:
            name: {$ref: '#/components/schemas/Name'}
            alias: {allOf: [{$ref: '#/components/schemas/Name'}], description: Another name.}
            kind: {enum: [a, b]}
            parent: {$ref: '#/components/schemas/Thing'}
            deep: {type: object, properties: {down: {type: [string, 'null']}}}
        - anyOf: [{type: object, properties: {left: {type: boolean}}}, {type: object, properties: {right: {const: x}}}]
`

func TestWhatAPageShows(t *testing.T) {
	page, err := render([]byte(everyShape))
	if err != nil {
		t.Fatal(err)
	}
	ids(t, string(page))
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(page), " ")), " ")
	for _, want := range []string{
		"Two loud and &lt;code&gt; .", "What there is.", "Make a &lt;thing&gt;", "needs no access token",
		"limit query integer ≥ 1 ≤ 9 5 if left out How many. Such as 7",
		"Body may be left out Thing",
		"name Name , string at most 3 characters required A name.",
		"alias Name , string at most 3 characters Another name.",
		"kind string a, b",
		"parent Thing",
		"deep object down string or null",
		"One of: object left boolean object right string x",
		"small { &#34;z&#34;: 1, &#34;a&#34;: [ true, null ] }", "another one { &#34;b&#34;: &#34;x&#34; }",
		"Answer 200 Made. array of Thing",
		"404 Gone : It is gone.",
		"Gone It is gone. { &#34;kind&#34;: &#34;not-found&#34; }",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
}

func TestAContractThatCannotBeShownIsRefused(t *testing.T) {
	for name, old := range map[string][2]string{
		"a reference to nowhere":    {"#/components/schemas/Name'}\n", "#/components/schemas/Nome'}\n"},
		"a reference elsewhere":     {"#/components/schemas/Name'}\n", "https://example.org/Name'}\n"},
		"a mark without other half": {"What there is.", "What `there is."},
	} {
		spec := strings.Replace(everyShape, old[0], old[1], 1)
		if spec == everyShape {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if _, err := render([]byte(spec)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := render([]byte("components: {schemas: {A: {$ref: '#/components/schemas/A'}}}")); err == nil {
		t.Error("a reference to itself was taken")
	}
}

func TestThePages(t *testing.T) {
	url, calls := serve(t, tidings.OpenAPI, yes)
	for _, tt := range []struct {
		path, accept string
		status       int
		media, csp   string
		says         string
	}{
		{"/docs", "", 200, "text/html; charset=utf-8", "style-src 'self'", "user-register"},
		{"/docs.css", "", 200, "text/css; charset=utf-8", "default-src 'none'", "color-scheme"},
		{"/openapi.yaml", "", 200, "application/yaml", "default-src 'none'", "openapi: 3.1.0"},
		{"/asyncapi.yaml", "", 200, "application/yaml", "default-src 'none'", "asyncapi: 3.0.0"},
		{"/", "text/html,application/xhtml+xml;q=0.9", 302, "text/html; charset=utf-8", "default-src 'none'", "/docs"},
		{"/", "application/json", 404, problemJSON, "default-src 'none'", "/docs"},
	} {
		resp, body := do(t, "GET", url+tt.path, "", "Accept", tt.accept)
		h := resp.Header
		if resp.StatusCode != tt.status || h.Get("Content-Type") != tt.media || !strings.Contains(h.Get("Content-Security-Policy"), tt.csp) || !strings.Contains(body, tt.says) {
			t.Errorf("%s for %q: %s %v\n%.200s", tt.path, tt.accept, resp.Status, h, body)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", tt.path, csp)
		}
		if resp, _ := do(t, "DELETE", url+tt.path, ""); tt.path != "/" && (resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "OPTIONS, GET") {
			t.Errorf("deleting %s: %s, %s", tt.path, resp.Status, resp.Header.Get("Allow"))
		}
	}
	if len(*calls) > 0 {
		t.Errorf("called %+v", *calls)
	}
}
