package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

func TestPushesAreChecked(t *testing.T) {
	type push struct {
		seq    int64
		sender int
		n      int64
	}
	tests := []struct {
		name     string
		pushes   []push
		found    string // part of the one violation, or ""
		missed   int
		repeated int64
	}{
		{"in order", []push{{8, 0, 0}, {9, 0, 1}, {10, 1, 0}, {11, 0, 2}}, "", 0, 0},
		{"one was lost", []push{{8, 0, 0}, {10, 0, 2}}, "", 1, 0},
		{"the same one twice", []push{{8, 0, 0}, {9, 0, 1}, {8, 0, 0}, {10, 0, 2}}, "", 0, 1},
		{"those of two senders overtake each other", []push{{9, 1, 0}, {8, 0, 0}}, "", 0, 0},
		{"a message under two seqs", []push{{8, 0, 0}, {9, 0, 0}}, "doubled", 0, 0},
		{"those of one sender out of order", []push{{9, 0, 1}, {8, 0, 0}}, "out of order", 0, 0},
		{"those of one sender swapped", []push{{8, 0, 1}, {9, 0, 0}}, "out of order", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f findings
			c := newPushCheck("bob", 7, &f)
			for _, p := range tt.pushes {
				c.saw(p.seq, stamp{p.sender, p.n, 0})
			}
			checkFound(t, &f, tt.found)
			if len(c.holes) != tt.missed || c.repeated != tt.repeated {
				t.Errorf("%d missed and %d repeated, want %d and %d", len(c.holes), c.repeated, tt.missed, tt.repeated)
			}
		})
	}
}

func TestInboxesAreChecked(t *testing.T) {
	type entry struct {
		seq    int64
		sender int
		n      int64
		time   im.Time
	}
	tests := []struct {
		name    string
		entries []entry
		found   string
		late    int64
	}{
		{"all there", []entry{{8, 0, 0, 1}, {9, 1, 0, 2}, {10, 0, 1, 3}, {11, 0, 2, 4}}, "", 0},
		{"one is lost", []entry{{8, 0, 0, 1}, {9, 1, 0, 2}, {10, 0, 2, 4}}, "lost: 1 accepted", 0},
		{"the last is lost", []entry{{8, 0, 0, 1}, {9, 0, 1, 3}, {10, 1, 0, 2}}, "lost: 1 accepted", 1},
		{"all are lost", nil, "lost: 3 accepted", 0},
		{"one is there twice", []entry{{8, 0, 0, 1}, {9, 0, 1, 3}, {10, 0, 1, 3}, {11, 0, 2, 4}}, "doubled", 0},
		{"a hole", []entry{{8, 0, 0, 1}, {10, 0, 1, 3}, {11, 0, 2, 4}}, "hole", 0},
		{"a seq twice", []entry{{8, 0, 0, 1}, {8, 0, 1, 3}, {9, 0, 2, 4}}, "hole", 0},
		{"those of a sender swapped", []entry{{8, 0, 1, 1}, {9, 0, 0, 3}, {10, 0, 2, 4}}, "out of order", 0},
		{"those of a sender at the wrong places", []entry{{8, 0, 0, 3}, {9, 0, 1, 1}, {10, 0, 2, 4}}, "out of order", 1},
		{"another sender's comes late", []entry{{8, 0, 0, 1}, {9, 0, 1, 3}, {10, 1, 0, 2}, {11, 0, 2, 4}}, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f findings
			c := newInboxCheck("bob", 7, &f, new(places))
			for _, e := range tt.entries {
				c.saw(e.seq, im.Message{ID: "m", Conversation: "g:x", Time: e.time}, stamp{e.sender, e.n, 0}, true)
			}
			l := ledger{sent: 4} // the fourth was never accepted
			for n := range int64(3) {
				if !l.accept(n) || l.accept(n) {
					t.Errorf("message %d is not accepted once", n)
				}
			}
			c.lost(0, &l)
			if tt.found == "out of order" || tt.found == "hole" {
				f.first = f.first[:1] // one fault may show in several ways
				f.n = 1
			}
			checkFound(t, &f, tt.found)
			if c.late != tt.late {
				t.Errorf("%d late, want %d", c.late, tt.late)
			}
		})
	}
}

func TestInboxesMustAgreeOnPlaces(t *testing.T) {
	var f findings
	var p places
	for i, at := range []im.Time{5, 5, 6} {
		c := newInboxCheck("user", 0, &f, &p)
		c.saw(1, im.Message{ID: "m", Conversation: "g:x", Time: at}, stamp{}, true)
		if (f.n > 0) != (i == 2) {
			t.Errorf("after inbox %d: %v", i, f.first)
		}
	}
	checkFound(t, &f, "no one order")
}

func checkFound(t *testing.T, f *findings, want string) {
	t.Helper()
	if want == "" && f.n > 0 || want != "" && (f.n != 1 || !strings.Contains(f.first[0], want)) {
		t.Errorf("found %d: %q, want %q", f.n, f.first, want)
	}
}

func TestFramesAreScanned(t *testing.T) {
	s := stamp{sender: 7, n: 123456, due: 98765432 * time.Microsecond}
	id := string(s.appendID(nil, "abcdefgh"))
	if back, ok := parseID([]byte(id), "abcdefgh"); !ok || back != s {
		t.Errorf("%s is read as %+v, %v", id, back, ok)
	}
	for _, other := range []string{"", "abcdefgh", "abcdefgh.1.2", "abcdefgh.1.2.3.4", "abcdefgi.1.2.3", "abcdefgh.x.2.3", "abcdefgh.1.2.3x", "hello"} {
		if s, ok := parseID([]byte(other), "abcdefgh"); ok {
			t.Errorf("%s is read as %+v", other, s)
		}
	}
	tests := []struct {
		frame, kind, id string
		seq             int64
	}{
		{`{"type":"accepted","id":"c1","message_id":"m","conversation":"g:x","time":"2026-01-02T03:04:05.000000Z"}`, "accepted", "c1", 0},
		{`{"id":"c1","type":"accepted"}`, "accepted", "c1", 0},
		{`{"type":"message","seq":42,"message":{"id":"m","client_id":"c1","text":"x"}}`, "message", "c1", 42},
		{`{"type":"message","message":{"id":"m","client_id":"c1"},"seq":42}`, "message", "c1", 42},
		{`{"type":"refused","id":"c1","kind":"overloaded"}`, "refused", "c1", 0},
		{`{"type":"welcome","head":3}`, "welcome", "", 0},
	}
	for _, tt := range tests {
		if in, err := scan([]byte(tt.frame)); err != nil || in.kind != tt.kind || string(in.id) != tt.id || in.seq != tt.seq {
			t.Errorf("%s is read as %+v, %v", tt.frame, in, err)
		}
	}
	for _, bad := range []string{``, `{`, `[]`, `{"type":"message","seq":1`} {
		if in, err := scan([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, in)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty one has a median")
	}
	for i := range 100_000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for _, q := range []float64{0, 0.01, 0.5, 0.99, 1} {
		want := float64(time.Microsecond) * max(q*100_000, 1)
		if got := float64(h.quantile(q)); got < want*0.97 || got > want*1.04 {
			t.Errorf("quantile %v is %v, want %v", q, time.Duration(got), time.Duration(want))
		}
	}
	for v := uint64(0); v < 1<<58; v += v/8 + 1 {
		if i := bucket(v); v > upper(i) || i > 0 && v <= upper(i-1) {
			t.Fatalf("%d is in bucket %d, which reaches from %d to %d", v, i, upper(i-1)+1, upper(i))
		}
	}
}
