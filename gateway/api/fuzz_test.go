package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidings-im/tidings/shared/im"
)

// Whatever a request says, it is refused as the client's fault or becomes one
// JSON object in UTF-8, in which each parameter has its type.
func FuzzRequest(f *testing.F) {
	f.Add("7", "loud=true&share=0.5&word=a", `{"more":[1]}`)
	f.Add("-0", "share=1e999", `{"thing":1}`)
	f.Add("x", "word=%ff&word=", `{"a":{"a":null}} `)
	f.Add("1", "a=1;b=2&%zz", "{\"\xff\":1}")
	paths, err := operations([]byte(everyKind))
	if err != nil {
		f.Fatal(err)
	}
	op := paths["/v1/things/{thing}"][http.MethodPost]
	f.Fuzz(func(t *testing.T, thing, query, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/", RawQuery: query}
		r.Header.Set("Content-Type", "application/json")
		r.SetPathValue("thing", thing)
		b, err := op.fields(r, http.MaxBytesReader(httptest.NewRecorder(), r.Body, maxBody))
		if err != nil {
			if k := im.KindOf(err); k != im.Invalid && k != im.TooLarge {
				t.Fatalf("refused as %s: %v", k, err)
			}
			return
		}
		var got struct {
			Thing *int64   `json:"thing"`
			Loud  *bool    `json:"loud"`
			Share *float64 `json:"share"`
			Word  *string  `json:"word"`
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil || !utf8.Valid(b) {
			t.Fatalf("%q: %v", b, err)
		}
		named := map[string]json.RawMessage{}
		for _, p := range op.Parameters {
			if v, ok := all[p.Name]; ok {
				named[p.Name] = v
			}
		}
		b, err = json.Marshal(named)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &got); err != nil || got.Thing == nil {
			t.Fatalf("%q: %v", b, err)
		}
	})
}
