package redis

import (
	"strings"
	"testing"
)

// What one read panics with is told to who asked, and the next one reads anew.
func TestP7APanicWhileReadingEndsNothingElse(t *testing.T) {
	var r rounds[int]
	if _, err := r.do(t.Context(), "k", func() (int, error) { panic("at the disco") }); err == nil || !strings.Contains(err.Error(), "at the disco") {
		t.Errorf("got %v", err)
	}
	if n, err := r.do(t.Context(), "k", func() (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("then %d, %v", n, err)
	}
}
