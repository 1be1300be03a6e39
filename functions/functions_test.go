package functions

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
)

// down are settings of services that are not there.
func down(t *testing.T) map[string]string {
	t.Helper()
	return fntest.Settings(t, map[string]string{
		"MONGODB_URL": "mongodb://127.0.0.1:1/d",
		"S3_URL":      "http://key:secret@127.0.0.1:1/b",
	})
}

// forAnybody are the functions that are called by who has no token yet.
var forAnybody = []string{
	"user-register", "user-login", "token-refresh", "bot-login",
	"password-forgot", "password-reset", "oauth-start", "oauth-callback",
}

// All functions start as they are declared, without their services. Who calls
// one that is public has to say who they are; it is behind a gate then, or it
// would not have started. Who calls one that is not has to be one of us, or a
// clock.
func TestP6EveryFunctionAsksWhoCalls(t *testing.T) {
	h, err := fn.Mount(t.Context(), imtest.Env(t, down(t)), All...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, f := range All {
		var want []int
		switch {
		case f.Every > 0:
			want = []int{http.StatusNoContent, http.StatusServiceUnavailable}
			if f.Public {
				t.Errorf("%s is called by a clock, and public", f.Name)
			}
		case slices.Contains(forAnybody, f.Name):
			want = []int{http.StatusBadRequest}
		case f.Public:
			want = []int{http.StatusUnauthorized}
		default:
			want = []int{http.StatusUnprocessableEntity}
		}
		for _, in := range []string{`{"nobody":"knows this"}`, `{}`} {
			if in == `{}` && slices.Contains(forAnybody, f.Name) {
				continue // it is for anybody
			}
			resp, err := srv.Client().Post(srv.URL+"/"+f.Name, "application/json", strings.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if !slices.Contains(want, resp.StatusCode) {
				t.Errorf("%s answers %s to %s", f.Name, resp.Status, in)
			}
		}
	}
}
