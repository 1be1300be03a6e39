package kafka

import (
	"bytes"
	"context"
	"io"
	"mime"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json/jsontext"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// A Record is a record of Kafka. Topic, Partition, Offset and Time are set in
// what is read and mean nothing in what is written.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte
	Value     []byte
	Headers   []Header

	read *parsed // by whoever asks first for the event; nil in what is written
}

// parsed is the event of a record that several consumers are handed.
type parsed struct {
	once sync.Once
	e    event.Event
	err  error
}

// A Header is a header of a record. A name may occur more than once.
type Header = kafkago.Header

const (
	attributePrefix   = "ce_"
	contentTypeHeader = "content-type"
)

// Header returns the value of the last header of that name, or "".
func (r *Record) Header(name string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if strings.EqualFold(r.Headers[i].Key, name) {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// size returns about how many bytes r takes in a batch.
func (r *Record) size() int {
	n := 32 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 4 + len(h.Key) + len(h.Value)
	}
	return n
}

// RecordOf returns the record of e in binary mode. It shares e's data.
func RecordOf(e *event.Event) Record {
	r := Record{Key: []byte(e.PartitionKey), Headers: make([]Header, 0, 10)}
	// What is written is a slice of headers: no error can come of it.
	if _, err := binding.Write(context.Background(), e.Message(), nil, (*recordWriter)(&r)); err != nil {
		panic(err)
	}
	r.Value = e.Data
	return r
}

// specs names attributes as CloudEvents' protocol binding for Kafka 1.0.2 does.
var specs = spec.WithPrefix("ce_")

// A recordWriter writes an event to a record in binary mode.
type recordWriter Record

func (w *recordWriter) Start(context.Context) error { return nil }

func (w *recordWriter) SetAttribute(a spec.Attribute, value any) error {
	if a.Kind() == spec.DataContentType {
		return w.set(contentTypeHeader, value)
	}
	return w.set(attributeHeader(a.Name()), value)
}

func (w *recordWriter) SetExtension(name string, value any) error {
	return w.set(attributeHeader(name), value)
}

func (w *recordWriter) set(header string, value any) error {
	s, err := types.Format(value)
	w.Headers = append(w.Headers, Header{Key: header, Value: []byte(s)})
	return err
}

func (w *recordWriter) SetData(io.Reader) error { return nil } // shared, not copied

func (w *recordWriter) End(context.Context) error { return nil }

// Event returns the event that r holds, in binary or structured mode. The
// error, of kind Invalid or Unsupported, says why it holds none that could be
// sent on. The event shares r's value, and what reads it may be handed to others:
// nobody changes its data.
func (r *Record) Event() (event.Event, error) {
	if r.read == nil {
		return r.event()
	}
	r.read.once.Do(func() { r.read.e, r.read.err = r.event() })
	return r.read.e, r.read.err
}

func (r *Record) event() (event.Event, error) {
	m := recordMessage{Record: r}
	media := event.JSON
	if ct := r.Header(contentTypeHeader); ct != "" && ct != event.JSON {
		var err error
		if media, _, err = mime.ParseMediaType(ct); err != nil {
			return event.Event{}, im.Errorf(im.Unsupported, "the content type %.60q of the record cannot be read", ct)
		}
	}
	switch media {
	case event.Structured:
		m.format = format.JSON
	case event.JSON:
		if m.version = specs.Version(r.Header(specs.PrefixedSpecVersionName())); r.Header(specs.PrefixedSpecVersionName()) != "1.0" {
			return event.Event{}, im.Errorf(im.Invalid, "the record is not a CloudEvent 1.0: that has the header ce_specversion")
		}
	default:
		return event.Event{}, im.Errorf(im.Unsupported, "the record is %.60q, neither %s nor %s", media, event.JSON, event.Structured)
	}
	e, err := event.Read(context.Background(), m, nil)
	if err != nil {
		return e, err
	}
	if m.version != nil {
		e.Data = r.Value
		// One that is not JSON would spoil the batch it is sent in.
		if len(e.Data) > 0 && !jsontext.Value(e.Data).IsValid() {
			return e, im.Errorf(im.Invalid, "the data of the event is not JSON")
		}
	}
	return e, checkAttributes(&e)
}

// A recordMessage is a record as the SDK's bindings read it; the data of one in
// binary mode is left where it is.
type recordMessage struct {
	*Record
	format  format.Format // of structured mode
	version spec.Version  // of binary mode
}

func (m recordMessage) ReadEncoding() binding.Encoding {
	if m.format != nil {
		return binding.EncodingStructured
	}
	return binding.EncodingBinary
}

func (m recordMessage) ReadStructured(ctx context.Context, w binding.StructuredWriter) error {
	if m.format == nil {
		return binding.ErrNotStructured
	}
	return w.SetStructuredEvent(ctx, m.format, bytes.NewReader(m.Value))
}

func (m recordMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	if m.version == nil {
		return binding.ErrNotBinary
	}
	for _, h := range m.Headers {
		name := strings.ToLower(h.Key)
		var err error
		if a := m.version.Attribute(name); a != nil {
			err = w.SetAttribute(a, string(h.Value))
		} else if name, ok := strings.CutPrefix(name, attributePrefix); ok {
			err = w.SetExtension(name, string(h.Value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkAttributes refuses control characters, which CloudEvents 1.0 forbids in
// attributes (§3.1, String) and which no HTTP header can carry.
func checkAttributes(e *event.Event) error {
	for name, value := range e.Attributes {
		for i := range len(value) {
			if value[i] < ' ' || value[i] == 0x7f {
				return im.Errorf(im.Invalid, "the attribute %s of the event holds a control character", name)
			}
		}
	}
	return nil
}

// attributeHeader returns the header of an attribute.
func attributeHeader(name string) string {
	if h, ok := attributeHeaders[name]; ok {
		return h
	}
	return attributePrefix + name
}

// attributeHeaders saves an allocation for each attribute of each event.
var attributeHeaders = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{"specversion", "id", "type", "source", "subject", "time", "partitionkey", "traceparent", "seal"} {
		m[name] = attributePrefix + name
	}
	return m
}()
