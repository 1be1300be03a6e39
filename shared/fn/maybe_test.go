package fn_test

import (
	"context"
	"testing"

	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// Who may call without a token is still not believed with a bad one.
func TestP6WhoNeedNoTokenNeedAGoodOneIfTheySendAny(t *testing.T) {
	issuer, pub := keys(t)
	ann := im.Caller{User: im.NewID(), Session: im.NewID(), Device: "d1", Platform: "web"}
	good, _, err := issuer.Issue(ann)
	if err != nil {
		t.Fatal(err)
	}
	var got im.Caller
	called := false
	srv := mount(t, newEnv(t, map[string]string{"TOKEN_PUBLIC_KEYS": pub}),
		fn.CallMaybe(open{}, func(_ context.Context, address string, c im.Caller, _ ask) (ask, error) {
			got, called = c, true
			return ask{}, nil
		}))
	for auth, want := range map[string]int{"": 200, "Bearer " + good: 200, "Bearer x.y.z": 401, "Bearer ": 401, "Basic " + good: 401, "x": 401} {
		got, called = im.Caller{}, false
		resp, body := raw(t, srv, `{"name":"x"}`, "Content-Type", "application/json", "Authorization", auth)
		if resp.StatusCode != want || called != (want == 200) || (got == ann) != (want == 200 && auth != "") {
			t.Errorf("%.30q: %d %s, caller %+v", auth, resp.StatusCode, body, got)
		}
	}
}
