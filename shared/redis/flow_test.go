package redis

import (
	"errors"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestAFlowIsTakenOnce(t *testing.T) {
	c := open(t, imtest.Redis(t))
	f := c.NewFlows()
	if err := f.PutFlow(t.Context(), "STATE", []byte("data"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if ttl := c.rdb.TTL(t.Context(), flowKey("STATE")).Val(); ttl <= 50*time.Second || ttl > time.Minute {
		t.Errorf("it is kept for %s", ttl)
	}
	for _, state := range []string{"", "ANOTHER"} {
		if _, err := f.TakeFlow(t.Context(), state); !errors.Is(err, im.NotFound) {
			t.Errorf("%q: %v", state, err)
		}
	}
	if data, err := f.TakeFlow(t.Context(), "STATE"); err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := f.TakeFlow(t.Context(), "STATE"); !errors.Is(err, im.NotFound) {
		t.Errorf("the second time: %v", err)
	}
}
