package cursor

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

const ann = "aaaaaaaaaaaaaaaa"

// raw is the cursor that JSON would be.
func raw(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }

const written = `{"t":"2026-01-31T12:00:00.000000Z","i":"` + ann + `"}`

func TestACursorIsReadAsItWasWritten(t *testing.T) {
	first := User{ID: "first"}
	at, err := Decode(raw(written), first)
	if err != nil || at.Time.String() != "2026-01-31T12:00:00.000000Z" || at.ID != ann || Encode(at) != raw(written) {
		t.Errorf("%+v, %v", at, err)
	}
	if at, err := Decode("", first); err != nil || at != first {
		t.Errorf("of none: %+v, %v", at, err)
	}
	for _, m := range []Message{{}, Message(im.LastPlace), {Time: 1}} {
		if at, err := Decode(Encode(m), Message{Time: 7}); err != nil || at != m {
			t.Errorf("%+v: %+v, %v", m, at, err)
		}
	}
}

func TestWhatNobodyWroteIsNoCursor(t *testing.T) {
	for name, s := range map[string]string{
		"no base64":             "?",
		"padded":                raw(written) + "=",
		"with trailing bits":    "e31",
		"no JSON":               raw("no"),
		"null":                  raw("null"),
		"a list":                raw("[]"),
		"nothing":               raw("{}"),
		"with another field":    raw(strings.Replace(written, "}", `,"x":1}`, 1)),
		"with a field twice":    raw(strings.Replace(written, "}", `,"i":"`+ann+`"}`, 1)),
		"with trailing bytes":   raw(written + "{}"),
		"with spaces":           raw(written + " "),
		"in capitals":           raw(strings.Replace(written, `"i"`, `"I"`, 1)),
		"of a time before 1970": raw(strings.Replace(written, "2026", "1969", 1)),
		"of no time":            raw(strings.Replace(written, "2026", "99999", 1)),
		"of another's id":       raw(strings.Replace(written, ann, `a\u0000`, 1)),
		"without an id":         raw(strings.Replace(written, ann, "", 1)),
		"of broken UTF-8":       raw(strings.Replace(written, ann, "\xff", 1)),
		"of a message":          Encode(Message(im.LastPlace)),
		"too long":              raw(written + strings.Repeat(" ", maxLen)),
	} {
		at, err := Decode(s, User{})
		if im.KindOf(err) != im.Invalid || err == nil || at != (User{}) {
			t.Errorf("%s: %+v, %v", name, at, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "begin without one") || len(err.Error()) > 300) {
			t.Errorf("%s: the error says %q", name, err)
		}
	}
	if _, err := Decode(raw(written), Message{}); im.KindOf(err) != im.Invalid {
		t.Errorf("of a user, among messages: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(raw(written))
	f.Add(Encode(Message(im.LastPlace)))
	f.Add(raw(`{"t":"1970-01-01T00:00:00.000000Z","i":""}`))
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		check(t, s, User{})
		check(t, s, Message{})
	})
}

func check[T position](t *testing.T, s string, first T) {
	t.Helper()
	at, err := Decode(s, first)
	switch {
	case err != nil && (im.KindOf(err) != im.Invalid || len(err.Error()) > 300):
		t.Errorf("error = %v", err)
	case err == nil && s != "" && (!at.Valid() || Encode(at) != s):
		t.Errorf("%q is read as %+v, which is written %q", s, at, Encode(at))
	}
}
