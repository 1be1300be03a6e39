package kafka

import (
	"errors"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestRecordsThatAreNoEvents(t *testing.T) {
	h := func(nameValues ...string) []Header {
		var hs []Header
		for i := 0; i < len(nameValues); i += 2 {
			hs = append(hs, Header{Key: nameValues[i], Value: []byte(nameValues[i+1])})
		}
		return hs
	}
	good := h("ce_specversion", "1.0", "ce_id", "1", "ce_type", "t", "ce_source", "s")
	with := func(nameValues ...string) []Header { return append(h(), append(good, h(nameValues...)...)...) }
	for _, tt := range []struct {
		name string
		rec  Record
		want error // nil: it is one
	}{
		{"an event", Record{Headers: good, Value: []byte(`{}`)}, nil},
		{"an event without data", Record{Headers: good}, nil},
		{"a content type with a parameter", Record{Headers: with("Content-Type", "application/json; charset=utf-8"), Value: []byte(`1`)}, nil},
		{"extensions that are not known here", Record{Headers: with("ce_knativearrivaltime", "x"), Value: []byte(`1`)}, nil},
		{"structured mode", Record{Headers: h("content-type", "application/cloudevents+json"), Value: []byte(`{"specversion":"1.0","id":"1","type":"t","source":"s"}`)}, nil},
		{"no headers", Record{Value: []byte(`{}`)}, im.Invalid},
		{"no id", Record{Headers: h("ce_specversion", "1.0", "ce_type", "t", "ce_source", "s")}, im.Invalid},
		{"another version", Record{Headers: h("ce_specversion", "0.3", "ce_id", "1", "ce_type", "t", "ce_source", "s")}, im.Invalid},
		{"a time that is none", Record{Headers: with("ce_time", "noon")}, im.Invalid},
		{"data that is not JSON", Record{Headers: good, Value: []byte(`{}},{"id":"2"`)}, im.Invalid},
		{"data that says it is not JSON", Record{Headers: with("content-type", "text/plain"), Value: []byte(`1`)}, im.Unsupported},
		{"a content type that is none", Record{Headers: with("content-type", "/;"), Value: []byte(`1`)}, im.Unsupported},
		{"an attribute with a line break", Record{Headers: with("ce_subject", "a\nb")}, im.Invalid},
		{"structured mode that is not JSON", Record{Headers: h("content-type", "application/cloudevents+json"), Value: []byte(`{`)}, im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := tt.rec.Event()
			if tt.want == nil && (err != nil || e.ID != "1") || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v; want %v", e, err, tt.want)
			}
		})
	}
}

// What was read as an event is written as one again.
func FuzzRecord(f *testing.F) {
	f.Add("1", "t", "s", "sub", "application/json", []byte(`{"a":1}`))
	f.Add("1", "t", "s", "a\nb", "application/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","type":"t","source":"s","data":[]}`))
	f.Fuzz(func(t *testing.T, id, typ, source, subject, media string, value []byte) {
		r := Record{Value: value, Headers: []Header{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(id)}, {Key: "ce_type", Value: []byte(typ)},
			{Key: "ce_source", Value: []byte(source)}, {Key: "ce_subject", Value: []byte(subject)}, {Key: "content-type", Value: []byte(media)},
		}}
		e, err := r.Event()
		if err != nil {
			return
		}
		r = RecordOf(&e)
		again, err := r.Event()
		if err != nil || again.ID != e.ID || again.Subject != e.Subject || string(again.Data) != string(e.Data) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
