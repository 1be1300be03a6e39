package redis

import (
	"maps"
	"testing"
	"time"
)

func TestEnded(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		c := open(t, url)
		if err := c.MarkEnded(t.Context(), "two", time.Hour); err != nil {
			t.Fatal(err)
		}
		got, err := c.Ended(t.Context(), []string{"one", "two", "three"})
		if err != nil || !maps.Equal(got, map[string]bool{"two": true}) {
			t.Errorf("Ended = %v, %v", got, err)
		}
		if ttl := c.rdb.TTL(t.Context(), endedKey("two")).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("it is known for %s", ttl)
		}
	})
}
