package fn_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

func TestWhoIsToBlameIsCounted(t *testing.T) {
	down := fmt.Errorf("reading: %w", &im.Error{Kind: im.Unavailable, Msg: "try again", Dependency: "redis"})
	for _, tt := range []struct {
		name string
		err  error
		want string // a line of the metrics, or what none of them begins with
		none bool
	}{
		{name: "a dependency that does not answer", err: down, want: `tidings_function_unavailable_total{dependency="redis",function="f"} 2`},
		{name: "one beneath what a function says of it", err: im.Wrap(im.Unavailable, down, "not now"), want: `tidings_function_unavailable_total{dependency="redis",function="f"} 2`},
		{name: "nobody, where a function fails by itself", err: im.Internal, want: "tidings_function_unavailable_total", none: true},
		{name: "nobody, where a function copes", err: nil, want: "tidings_function_unavailable_total", none: true},
		{name: "nobody, where it can never succeed", err: im.Wrap(im.Invalid, down, "never"), want: "tidings_function_unavailable_total", none: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := newEnv(t, nil)
			srv := mount(t, env, fn.On(func(context.Context, []ask) error { return tt.err }))
			post(t, srv, sealed(t, "1", ask{}), sealed(t, "2", ask{}))
			w := httptest.NewRecorder()
			env.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if got := strings.Contains(w.Body.String(), "\n"+tt.want); got == tt.none {
				t.Errorf("want %q (none: %v) in\n%s", tt.want, tt.none, w.Body)
			}
		})
	}
}
