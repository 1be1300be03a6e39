package redis

import (
	"maps"
	"sync"
	"testing"
)

func TestHeads(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		check := func(want map[string]int64) {
			t.Helper()
			got, err := c.Heads(t.Context(), []string{"ann", "bob", "cleo"})
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("Heads = %v, %v, want %v", got, err, want)
			}
		}
		raise := func(heads map[string]int64) {
			t.Helper()
			if err := c.RaiseHeads(t.Context(), heads); err != nil {
				t.Fatal(err)
			}
		}
		check(map[string]int64{})
		raise(map[string]int64{"ann": 9, "bob": 1 << 50})
		check(map[string]int64{"ann": 9, "bob": 1 << 50})
		raise(map[string]int64{"ann": 10, "bob": 7, "cleo": 1}) // 10 is more than 9, as a number
		check(map[string]int64{"ann": 10, "bob": 1 << 50, "cleo": 1})
		if ttl := c.rdb.TTL(t.Context(), headKey("ann")).Val(); ttl <= 0 || ttl > headTTL {
			t.Errorf("a hint lives for %s", ttl)
		}

		var wg sync.WaitGroup
		for i := range int64(8) {
			wg.Go(func() {
				for n := range int64(20) {
					if err := c.RaiseHeads(t.Context(), map[string]int64{"cleo": n*8 + i}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		check(map[string]int64{"ann": 10, "bob": 1 << 50, "cleo": 159})
	})
}
