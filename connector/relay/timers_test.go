package relay

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/imtest"
)

func TestTimersThatMakeNoSenseAreRefused(t *testing.T) {
	for _, bad := range []string{"sweep", "sweep=", "sweep=soon", "sweep=10ms", "sweep=-1m"} {
		if _, err := parseTimers([]string{bad}); err == nil || !strings.Contains(err.Error(), "CONNECTOR_TIMERS") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	got, err := parseTimers([]string{"outbox-relay=1m", "session-sweep = 90s"})
	if err != nil || len(got) != 2 || got[1] != (timer{"session-sweep", 90 * time.Second}) {
		t.Errorf("%v, %v", got, err)
	}
}

// A timed function is called again and again, also after it failed.
func TestATimedFunctionIsCalledByTheClock(t *testing.T) {
	calls := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case calls <- r.Method + " " + r.URL.Path:
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	newSite(t, 1).relay("FUNCTION_URL", srv.URL+"/{function}", "CONNECTOR_TIMERS", "session-sweep=1s")
	for range 2 {
		select {
		case got := <-calls:
			if got != "POST /session-sweep" {
				t.Errorf("called by %s", got)
			}
		case <-time.After(imtest.Patience(t)):
			t.Fatal("it is not called")
		}
	}
}
