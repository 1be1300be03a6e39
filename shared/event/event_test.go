package event

import (
	"bytes"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func secret(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32))
}

func ring(t testing.TB, s string) *Keyring {
	t.Helper()
	k, err := ParseKeyring(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sample(t testing.TB) Event {
	t.Helper()
	e, err := New(MessageAccepted, "test", "g:x", Accepted{Message: im.Message{Text: `a <b> & "c" 安`}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestP6ASealHoldsForWhatWasSealedAndNothingElse(t *testing.T) {
	k := ring(t, "k1:"+secret(1))
	good := sample(t)
	k.Sign(&good)
	if err := k.Verify(&good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Event){
		"id":                  func(e *Event) { e.ID += "x" },
		"type":                func(e *Event) { e.Type = InboxAppended },
		"source":              func(e *Event) { e.Source += "x" },
		"subject":             func(e *Event) { e.Subject = "" },
		"data":                func(e *Event) { e.Data = append([]byte(" "), e.Data...) },
		"id into type":        func(e *Event) { e.ID, e.Type = e.ID+e.Type[:1], e.Type[1:] },
		"no seal":             func(e *Event) { e.Seal = "" },
		"seal of another key": func(e *Event) { e.Seal = "k2" + e.Seal[2:] },
		"seal cut short":      func(e *Event) { e.Seal = e.Seal[:len(e.Seal)-2] },
		"seal made longer":    func(e *Event) { e.Seal += "AA" },
		"seal of nonsense":    func(e *Event) { e.Seal = "k1." + strings.Repeat("*", 43) },
	} {
		e := good
		change(&e)
		if err := k.Verify(&e); !errors.Is(err, im.Denied) {
			t.Errorf("after a change of %s: %v", name, err)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	before := ring(t, "k1:"+secret(1))
	during := ring(t, "k2:"+secret(2)+", k1:"+secret(1))
	after := ring(t, "k2:"+secret(2))
	e := sample(t)
	before.Sign(&e)
	if err := during.Verify(&e); err != nil {
		t.Error(err)
	}
	if after.Verify(&e) == nil {
		t.Error("a key that was taken away is believed")
	}
	during.Sign(&e)
	if err := after.Verify(&e); err != nil {
		t.Error(err)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	for _, s := range []string{"", "k1", "k1:", ":" + secret(1), "k1:!!", "k1:c2hvcnQ=", "a.b:" + secret(1), "k1:" + secret(1) + ",k1:" + secret(2)} {
		if _, err := ParseKeyring(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	a, b := sample(t), sample(t)
	ring(t, "k1:"+secret(1)).Sign(&a)
	a.TraceParent, a.PartitionKey, b.Subject = "00-1-2-01", "käy \"x\"", ""
	got, err := ParseBatch(AppendBatch(nil, []Event{a, b}))
	if err != nil || !reflect.DeepEqual(got, []Event{a, b}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(AppendBatch(nil, []Event{sample(f), sample(f)}))
	f.Add([]byte(`[{"specversion":"1.0","id":"1","type":"t","source":"s","data_base64":"e30="}]`))
	f.Add([]byte(`[{},null,[]]`))
	k := ring(f, "k1:"+secret(1))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := ParseBatch(b)
		if err != nil {
			if !errors.Is(err, im.Invalid) {
				t.Errorf("error of kind %s: %v", im.KindOf(err), err)
			}
			return
		}
		for i := range events {
			if k.Verify(&events[i]) == nil {
				t.Error("a seal was made without the key")
			}
		}
		if again, err := ParseBatch(AppendBatch(nil, events)); err == nil && len(again) != len(events) {
			t.Errorf("%d events became %d", len(events), len(again))
		}
	})
}

func BenchmarkSign(b *testing.B) {
	k, e := ring(b, "k1:"+secret(1)), sample(b)
	for b.Loop() {
		k.Sign(&e)
	}
}

func BenchmarkParseBatchOf50(b *testing.B) {
	e := sample(b)
	events := make([]Event, 50)
	for i := range events {
		events[i] = e
	}
	body := AppendBatch(nil, events)
	for b.Loop() {
		if _, err := ParseBatch(body); err != nil {
			b.Fatal(err)
		}
	}
}

// Whoever reads events into a buffer uses it again.
func TestParsedEventsKeepNothingOfTheBuffer(t *testing.T) {
	want := []Event{sample(t), sample(t)}
	ring(t, "k1:"+secret(1)).Sign(&want[0])
	b := AppendBatch(nil, want)
	got, err := ParseBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
