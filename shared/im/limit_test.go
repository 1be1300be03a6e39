package im

import "testing"

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		asked, want int
		err         Kind
	}{
		{asked: 0, want: 50}, {asked: 1, want: 1}, {asked: 100, want: 100}, {asked: 101, err: Invalid}, {asked: -1, err: Invalid},
	} {
		got, err := Limit(tt.asked, 50, 100)
		if got != tt.want || tt.err == "" && err != nil || tt.err != "" && KindOf(err) != tt.err {
			t.Errorf("of %d asked for: %d, %v; want %d %s", tt.asked, got, err, tt.want, tt.err)
		}
	}
}
