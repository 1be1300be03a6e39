package im

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestJSONIsWrittenWithoutEscapesForHTML(t *testing.T) {
	b, err := JSON(map[string]any{"text": "<a & b>", "raw": json.RawMessage(`{"x": "<&>"}`)})
	if want := `{"raw":{"x":"<&>"},"text":"<a & b>"}`; err != nil || string(b) != want {
		t.Errorf("written %s, %v; want %s", b, err, want)
	}
	if _, err := JSON(make(chan int)); err == nil {
		t.Error("a channel was written")
	}
}

func FuzzP7TheLengthOfATextIsThatOfItsJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "<&>", "\"\\/", "\x00\x01\x1f\x7f\b\f\n\r\t", "\u2028\u2029", "é好😀", "\xff\xfe broken \xe2\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := JSON(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := WrittenLen(s); got != len(b) {
			t.Errorf("%q is written with %d bytes, as %s: WrittenLen says %d", s, len(b), b, got)
		}
	})
}

func TestP7AMessageIsNoLongerWrittenThanItIsMeasured(t *testing.T) {
	most := strings.Repeat("x", 64)
	m := Message{
		ID: NewMessageID(LastPlace.Time), Conversation: Conversation("d:" + most), Time: LastPlace.Time, From: most[:26], ClientID: strings.Repeat(`"`, MaxClientID),
		Kind: strings.Repeat("k", 32), Text: strings.Repeat("\x01", MaxText), ReplyTo: NewMessageID(1), Data: json.RawMessage(`{"name":"<>&"}`),
		Revision: 1 << 30, Edited: LastPlace.Time, Recalled: true,
	}
	for range 20 {
		m.Reactions = append(m.Reactions, Reaction{Emoji: "👩‍👩‍👧‍👦", Count: 1 << 30, Mine: true})
	}
	b, err := JSON(m)
	if err != nil || len(b) > m.WrittenLen() || len(b)+fieldsLen < m.WrittenLen() {
		t.Errorf("written with %d bytes, measured as %d, %v", len(b), m.WrittenLen(), err)
	}
	if small := (Message{}).WrittenLen(); small > 600 {
		t.Errorf("an empty message is measured as %d bytes", small)
	}
}

func BenchmarkWrittenLen(b *testing.B) {
	s := strings.Repeat("a text of some length, as people write them <to> each other ", 270)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		WrittenLen(s)
	}
}
