package event

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidings-im/tidings/shared/im"
)

// v1 is what the SDK knows of the attributes of CloudEvents 1.0.
var v1 = spec.VS.Version(ce.CloudEventsVersionV1)

// Message returns e as the SDK's bindings write it, in binary mode.
func (e *Event) Message() binding.Message { return (*message)(e) }

type message Event

func (m *message) ReadEncoding() binding.Encoding { return binding.EncodingBinary }

func (m *message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m *message) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	for name, value := range (*Event)(m).Attributes {
		var err error
		if a := v1.Attribute(name); a != nil {
			err = w.SetAttribute(a, value)
		} else {
			err = w.SetExtension(name, value)
		}
		if err != nil {
			return fmt.Errorf("writing the attribute %s: %w", name, err)
		}
	}
	if err := w.SetAttribute(v1.AttributeFromKind(spec.DataContentType), JSON); err != nil {
		return err
	}
	if len(m.Data) == 0 {
		return nil
	}
	return w.SetData(bytes.NewReader(m.Data))
}

func (m *message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	a := v1.AttributeFromKind(kind)
	if a == nil {
		return nil, nil
	}
	return a, m.GetExtension(a.Name())
}

func (m *message) GetExtension(name string) any {
	for has, value := range (*Event)(m).Attributes {
		if has == name {
			return value
		}
	}
	return nil
}

func (m *message) Finish(error) error { return nil }

// Read reads an event that an SDK's binding has, in binary or structured mode. An
// error of it is of kind Invalid, unless it is the one with which its data could
// not be read, or that of admit, which may refuse an event in binary mode before
// any of its data is read. The event shares nothing with m.
func Read(ctx context.Context, m binding.MessageReader, admit func(*Event) error) (Event, error) {
	r := reader{admit: admit}
	var err error
	switch m.ReadEncoding() {
	case binding.EncodingBinary:
		err = m.ReadBinary(ctx, &r)
	case binding.EncodingStructured:
		err = m.ReadStructured(ctx, &r)
	default:
		err = im.Errorf(im.Invalid, `not a CloudEvent: it has no specversion, "1.0" is spoken here`)
	}
	if err == nil {
		err = r.Check()
	}
	return r.Event, err
}

// A reader is an event that a binding writes.
type reader struct {
	Event
	admit func(*Event) error
}

func (r *reader) Start(context.Context) error { return nil }

func (r *reader) SetAttribute(a spec.Attribute, value any) error { return r.set(a.Name(), value) }

func (r *reader) SetExtension(name string, value any) error { return r.set(name, value) }

func (r *reader) set(name string, value any) error {
	if value == nil {
		return nil
	}
	s, err := types.Format(value)
	if err != nil {
		return &im.Error{Kind: im.Invalid, Msg: fmt.Sprintf("the attribute %.40s of the event cannot be read", name), Err: err}
	}
	return r.setAttribute(name, s)
}

func (r *reader) SetData(from io.Reader) error {
	if r.admit != nil {
		if err := r.admit(&r.Event); err != nil {
			return err
		}
	}
	return ReadAll(from, func(b []byte) error { r.Data = bytes.Clone(b); return nil })
}

func (r *reader) End(context.Context) error { return nil }

// SetStructuredEvent reads an event that the SDK can read, if it is JSON that has
// no name twice and no broken UTF-8, which the SDK does not mind.
func (r *reader) SetStructuredEvent(ctx context.Context, f format.Format, from io.Reader) error {
	return ReadAll(from, func(b []byte) error {
		if !jsontext.Value(b).IsValid() {
			return im.Errorf(im.Invalid, "not a CloudEvent in JSON")
		}
		e, err := unmarshal(f, b)
		if err != nil {
			return &im.Error{Kind: im.Invalid, Msg: "not a CloudEvent 1.0 in JSON", Err: err}
		}
		if v := e.SpecVersion(); v != ce.CloudEventsVersionV1 {
			return im.Errorf(im.Invalid, `the event says specversion %.20q: "1.0" is spoken here`, v)
		}
		if len(e.Data()) > 0 && !jsontext.Value(e.Data()).IsValid() {
			return im.Errorf(im.Invalid, "the data of the event is not JSON")
		}
		r.admit = nil // of what is read already
		err = binding.ToMessage(&e).ReadBinary(ctx, r)
		r.Data = bytes.Trim(r.Data, " \t\r\n") // what stood around a value is no part of it
		return err
	})
}

// unmarshal reads an event as the SDK does, which panics at what is JSON and no
// event, such as base64 that is a number.
func unmarshal(f format.Format, b []byte) (e ce.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the SDK panics: %v", p)
		}
	}()
	err = f.Unmarshal(b, &e)
	return e, err
}

// bodies lends buffers to who reads a body. One that has grown beyond maxPooled
// is not kept.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxPooled = 1 << 20

// ReadAll reads all that from has and hands it to use, which keeps none of it. Its
// error is that of reading, or of use.
func ReadAll(from io.Reader, use func([]byte) error) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(from); err != nil {
		return err
	}
	return use(buf.Bytes())
}
