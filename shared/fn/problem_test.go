package fn_test

import (
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each golden file is the body of an error as clients get it. They are the
// contract with clients that exist.
func TestErrorBodiesAreAsTheyAlwaysWere(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		err    error
	}{
		"invalid":     {400, im.Errorf(im.Invalid, `a message needs a "text"`)},
		"not-found":   {404, im.Errorf(im.NotFound, "there is no such user")},
		"overloaded":  {429, &im.Error{Kind: im.Overloaded, Msg: "too many at once: come again", RetryAfter: 1500 * time.Millisecond}},
		"unavailable": {503, im.Wrap(im.Unavailable, errors.New("dial tcp 10.0.0.1:5432: refused"), "history is resting: try again")},
		"internal":    {500, errors.New("nil map in the heart of it")},
	} {
		w := httptest.NewRecorder()
		fn.WriteProblem(w, tt.status, tt.err)
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, w.Body.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != string(want) || w.Code != tt.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s\ngot  %swant %s", name, w.Code, w.Header(), got, want)
		}
		if wait := w.Header().Get("Retry-After"); (wait == "2") != (name == "overloaded") {
			t.Errorf("%s: Retry-After %q", name, wait)
		}
	}
}
