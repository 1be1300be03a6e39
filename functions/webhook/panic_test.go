package webhook

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
)

func TestP7APanicOfOneDeliveryEndsNoOther(t *testing.T) {
	var ran atomic.Int32
	p := newPool(t.Context(), 1, func(_ context.Context, webhook string) error {
		ran.Add(1)
		if webhook == "bad" {
			panic("at the disco")
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	p.kick("bad", "https://a.example/")
	p.kick("good", "https://b.example/")
	p.wait(t.Context())
	p.kick("bad", "https://a.example/")
	p.wait(t.Context())
	if n := ran.Load(); n != 3 || p.total != 0 || len(p.known) != 0 {
		t.Errorf("%d ran, %d are under way, %d are known", n, p.total, len(p.known))
	}
}
