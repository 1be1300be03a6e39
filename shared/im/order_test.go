package im

import "testing"

func TestAPlaceIsReadAsItWasAppended(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Place
		want Place
		ok   bool
	}{
		{"of a message", Place{42, "019b7ca9-8f2e-7e6a-8000-0000000000ff"}, Place{42, "019b7ca9-8f2e-7e6a-8000-0000000000ff"}, true},
		{"the last", LastPlace, LastPlace, true},
		{"before all", Place{}, Place{0, "00000000-0000-0000-0000-000000000000"}, true},
		{"of what is no id", Place{1, "x"}, Place{1, "00000000-0000-0000-0000-000000000000"}, true},
		{"of no time", Place{-1, LastPlace.ID}, Place{-1, LastPlace.ID}, false},
		{"after all time", Place{LastPlace.Time + 1, LastPlace.ID}, Place{LastPlace.Time + 1, LastPlace.ID}, false},
	} {
		b := tt.p.AppendTo([]byte("x"))
		got, ok := ReadPlace(b[1:])
		if len(b) != 1+PlaceLen || got != tt.want || ok != tt.ok {
			t.Errorf("%s: %x is read as %+v, %v", tt.name, b, got, ok)
		}
	}
}

func TestBytesOfAMessageIDAreFormattedAsItWas(t *testing.T) {
	id := NewMessageID(Now())
	if u, ok := MessageIDBytes(id); !ok || FormatMessageID(u) != id {
		t.Errorf("%s has bytes %x, %v", id, u, ok)
	}
	for _, s := range []string{"", "x", id[:35], id + "0", "019B7CA9-8f2e-7e6a-8000-000000000000"} {
		if u, ok := MessageIDBytes(s); ok || u != [16]byte{} {
			t.Errorf("%q has bytes %x, %v", s, u, ok)
		}
	}
}
