package kafka

import (
	"mime"
	"strings"
	"time"

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
	r := Record{Key: []byte(e.PartitionKey), Value: e.Data, Headers: make([]Header, 0, 10)}
	for name, value := range e.Attributes {
		r.Headers = append(r.Headers, Header{Key: attributeHeader(name), Value: []byte(value)})
	}
	r.Headers = append(r.Headers, Header{Key: contentTypeHeader, Value: []byte(event.JSON)})
	return r
}

// Event returns the event that r holds, in binary or structured mode. The
// error, of kind Invalid or Unsupported, says why it holds none that could be
// sent on. The event shares r's value.
func (r *Record) Event() (event.Event, error) {
	media := event.JSON
	if ct := r.Header(contentTypeHeader); ct != "" && ct != event.JSON {
		var err error
		if media, _, err = mime.ParseMediaType(ct); err != nil {
			return event.Event{}, im.Errorf(im.Unsupported, "the content type %.60q of the record cannot be read", ct)
		}
	}
	switch media {
	case event.Structured:
		e, err := event.Parse(r.Value)
		if err == nil {
			err = checkAttributes(&e)
		}
		return e, err
	case event.JSON:
		return r.binary()
	}
	return event.Event{}, im.Errorf(im.Unsupported, "the record is %.60q, neither %s nor %s", media, event.JSON, event.Structured)
}

func (r *Record) binary() (event.Event, error) {
	if r.Header(attributePrefix+"specversion") == "" {
		return event.Event{}, im.Errorf(im.Invalid, "the record is not a CloudEvent: it has no header ce_specversion")
	}
	e := event.Event{Data: r.Value}
	for _, h := range r.Headers {
		name, ok := strings.CutPrefix(strings.ToLower(h.Key), attributePrefix)
		if !ok {
			continue
		}
		if err := e.SetAttribute(name, string(h.Value)); err != nil {
			return e, err
		}
	}
	// One that is not JSON would spoil the batch it is sent in.
	if len(e.Data) > 0 && !jsontext.Value(e.Data).IsValid() {
		return e, im.Errorf(im.Invalid, "the data of the event is not JSON")
	}
	if err := e.Check(); err != nil {
		return e, err
	}
	return e, checkAttributes(&e)
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
