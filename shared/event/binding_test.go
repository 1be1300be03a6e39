package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidings-im/tidings/shared/im"
)

// received is what a server reads of a request with these headers and body.
func received(header http.Header, body []byte) binding.Message {
	return cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body)))
}

func TestOneEventComesBackAsItWasInEitherMode(t *testing.T) {
	want := sample(t)
	ring(t, "k1:"+secret(1)).Sign(&want)
	want.TraceParent, want.PartitionKey = "00-1-2-01", `käy "x"`
	req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cehttp.WriteRequest(t.Context(), want.Message(), req); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	for mode, m := range map[string]binding.Message{
		"binary":     received(req.Header, body),
		"structured": received(http.Header{"Content-Type": {Structured}}, want.AppendJSON(nil)),
	} {
		got, err := Read(t.Context(), m, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", mode, got, err, want)
		}
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	structured := func(s string) binding.Message {
		return received(http.Header{"Content-Type": {Structured}}, []byte(s))
	}
	binary := func(attributes ...string) binding.Message {
		h := http.Header{"Content-Type": {JSON}}
		for i := 0; i < len(attributes); i += 2 {
			h.Set("Ce-"+attributes[i], attributes[i+1])
		}
		return received(h, []byte(`{}`))
	}
	for name, m := range map[string]binding.Message{
		"no JSON":                         structured(`{`),
		"something after it":              structured(`{"specversion":"1.0","id":"1","type":"t","source":"s"} {}`),
		"a name that is there twice":      structured(`{"specversion":"1.0","id":"1","id":"2","type":"t","source":"s"}`),
		"broken UTF-8":                    structured("{\"specversion\":\"1.0\",\"id\":\"\xff\",\"type\":\"t\",\"source\":\"s\"}"),
		"the past":                        structured(`{"specversion":"0.3","id":"1","type":"t","source":"s"}`),
		"the future":                      structured(`{"specversion":"2.0","id":"1","type":"t","source":"s"}`),
		"no version":                      structured(`{"id":"1","type":"t","source":"s"}`),
		"no id":                           structured(`{"specversion":"1.0","type":"t","source":"s"}`),
		"a time that is none":             structured(`{"specversion":"1.0","id":"1","type":"t","source":"s","time":"now"}`),
		"data that is text":               structured(`{"specversion":"1.0","id":"1","type":"t","source":"s","datacontenttype":"text/plain","data":"x"}`),
		"data that is not base64":         structured(`{"specversion":"1.0","id":"1","type":"t","source":"s","data_base64":"?"}`),
		"base64 that is a number":         structured(`{"data_base64":1,"specversion":"1.0","id":"1","type":"t","source":"s"}`),
		"an empty name":                   structured(`{"":1,"specversion":"1.0","id":"1","type":"t","source":"s"}`),
		"a list":                          structured(`[]`),
		"binary, the past":                binary("specversion", "0.3", "id", "1", "type", "t", "source", "s"),
		"binary, the future":              binary("specversion", "2.0", "id", "1", "type", "t", "source", "s"),
		"binary, no version":              binary("id", "1", "type", "t", "source", "s"),
		"binary, no source":               binary("specversion", "1.0", "id", "1", "type", "t"),
		"binary, a time that is none":     binary("specversion", "1.0", "id", "1", "type", "t", "source", "s", "time", "now"),
		"neither of them, but plain JSON": binary(),
	} {
		if e, err := Read(t.Context(), m, nil); !errors.Is(err, im.Invalid) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// Of an event that is not admitted no data is read.
func TestWhatIsNotAdmittedIsNotRead(t *testing.T) {
	h := http.Header{"Content-Type": {JSON}, "Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Type": {"t"}, "Ce-Source": {"s"}}
	body := bytes.NewReader([]byte(`{}`))
	no := errors.New("no")
	_, err := Read(t.Context(), cehttp.NewMessage(h, io.NopCloser(body)), func(e *Event) error {
		if e.ID != "1" || e.Type != "t" {
			t.Errorf("what is asked about is %+v", e)
		}
		return no
	})
	if !errors.Is(err, no) || body.Len() != 2 {
		t.Errorf("%v; %d bytes are left", err, body.Len())
	}
}

// A body that cannot be read says why, as it did itself.
func TestABodyThatBreaksOffIsNotAnEventThatIsInvalid(t *testing.T) {
	for _, h := range []http.Header{{"Content-Type": {Structured}}, {"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}}} {
		broken := io.MultiReader(strings.NewReader(`{`), brokenReader{})
		if _, err := Read(t.Context(), cehttp.NewMessage(h, io.NopCloser(broken)), nil); !errors.Is(err, errBroken) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

var errBroken = errors.New("broken off")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// FuzzBatchAsTheSDK holds our own reading of a batch to the SDK's: what it takes
// the SDK takes too, and both see the same; and what is written of it is read by
// the SDK as it was.
func FuzzBatchAsTheSDK(f *testing.F) {
	a, b := sample(f), sample(f)
	ring(f, "k1:"+secret(1)).Sign(&a)
	a.TraceParent, a.PartitionKey, b.Subject = "00-1-2-01", `käy "x"`, ""
	f.Add(AppendBatch(nil, []Event{a, b}))
	for _, s := range []string{
		`[]`, `[{"specversion":"1.0","id":"1","type":"t","source":"s","data_base64":"e30="}]`,
		`[{"specversion":"1.0","id":"1","type":"t","source":"s","time":"2026-01-02T03:04:05.678Z","data":[1, 2]}]`,
		`[{"specversion":"1.0","id":"1","type":"t","source":"s","data":null}]`,
		`[{"specversion":"1.0","id":"1","type":"t","source":"s","subject":"","extra":7,"data":"text"}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, err := ParseBatch(in)
		if err != nil {
			return // it is stricter: of JSON, and of types of attributes
		}
		if comparable(t, in) {
			var theirs []ce.Event
			if err := json.Unmarshal(in, &theirs); err != nil {
				t.Fatalf("the SDK refuses what is taken here: %v\n%q", err, in)
			}
			same(t, ours, theirs)
		}
		written := AppendBatch(nil, ours)
		if !comparable(t, written) {
			return
		}
		var again []ce.Event
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("the SDK refuses what is written here: %v\n%s", err, written)
		}
		same(t, ours, again)
	})
}

// comparable reports whether a batch that we take is one of which the SDK sees as
// much: it refuses extensions that are no scalars or are not in lower case, sources
// that are no URI references and times of other forms, where we ignore the first
// and take the others as they are; it ends at an empty name, panics at base64 that
// is no string, and reads data by its type, which is JSON here, and by which of
// two comes last.
func comparable(t *testing.T, batch []byte) bool {
	t.Helper()
	var events []map[string]jsontext.Value
	if err := jsonv2.Unmarshal(batch, &events); err != nil {
		return false // data by base64, of what is no JSON
	}
	for _, e := range events {
		for name, value := range e {
			var text string
			isText := jsonv2.Unmarshal(value, &text) == nil && value.Kind() == '"'
			switch name {
			case "specversion", "id", "type", "subject", "partitionkey", "traceparent", "seal":
				if !isText || text == "" {
					return false
				}
			case "source":
				if !isText || types.ParseURIRef(text) == nil || types.ParseURIRef(text).String() != text {
					return false
				}
			case "time":
				if _, err := types.ParseTimestamp(text); !isText || err != nil {
					return false
				}
			case "datacontenttype":
				if text != JSON {
					return false
				}
			case "data_base64":
				if _, two := e["data"]; two || !isText || text == "" {
					return false
				}
			case "data":
			default:
				return false
			}
		}
	}
	return true
}

// same reports what the two see differently.
func same(t *testing.T, ours []Event, theirs []ce.Event) {
	t.Helper()
	if len(ours) != len(theirs) {
		t.Fatalf("%d events, to the SDK %d", len(ours), len(theirs))
	}
	for i := range ours {
		r := new(reader)
		if err := binding.ToMessage(&theirs[i]).ReadBinary(t.Context(), r); err != nil {
			t.Fatalf("event %d as the SDK has it: %v", i, err)
		}
		r.Data = bytes.TrimSpace(r.Data)
		if want := ours[i]; !reflect.DeepEqual(r.Event, want) && !(len(r.Data) == 0 && len(want.Data) == 0) {
			t.Errorf("event %d is %+v, to the SDK %+v", i, want, r.Event)
		}
	}
}

func BenchmarkReadBinary(b *testing.B) {
	e := sample(b)
	ring(b, "k1:"+secret(1)).Sign(&e)
	req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/", nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := cehttp.WriteRequest(b.Context(), e.Message(), req); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(b.Context(), received(req.Header, e.Data), nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadStructured(b *testing.B) {
	e := sample(b)
	ring(b, "k1:"+secret(1)).Sign(&e)
	h, body := http.Header{"Content-Type": {Structured}}, e.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(b.Context(), received(h, body), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// The same by our own reading, as a batch of one has it.
func BenchmarkReadBatchOfOne(b *testing.B) {
	e := sample(b)
	ring(b, "k1:"+secret(1)).Sign(&e)
	body := AppendBatch(nil, []Event{e})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBatch(body); err != nil {
			b.Fatal(err)
		}
	}
}
