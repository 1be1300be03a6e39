package redis

import (
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

func TestForget(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		ctx := t.Context()
		e := env(t, url)
		c, err := Open(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.NewPresence(e, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []string{"ann", "bob"} {
			if err := c.RaiseHeads(ctx, map[string]int64{user: 9}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Connect(ctx, im.Conn{ID: "1", User: user, Gateway: "g", Device: "d", Platform: "web", Session: "s"}); err != nil {
				t.Fatal(err)
			}
		}
		of := func(user string) []string {
			t.Helper()
			keys, err := c.rdb.Keys(ctx, "*{"+user+"}*").Result()
			if err != nil {
				t.Fatal(err)
			}
			return keys
		}
		before := len(of("bob"))
		for range 2 { // it may be repeated
			if err := c.Forget(ctx, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		if left := of("ann"); len(left) > 0 || before < 3 || len(of("bob")) != before {
			t.Errorf("of who is forgotten %q is left, of another %q", left, of("bob"))
		}
	})
}
