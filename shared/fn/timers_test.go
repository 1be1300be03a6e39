package fn_test

import (
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
)

func TestTimers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		funcs []fn.Func
		want  string
	}{
		{"nobody is called by the clock", []fn.Func{{Name: "a"}}, ""},
		{"as often as they say, or more", []fn.Func{{Name: "a", Every: 2 * time.Second}, {Name: "b"}, {Name: "c", Every: time.Hour}}, "a=2s,c=10s"},
	} {
		if got := fn.Timers(tt.funcs, 10*time.Second); got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
