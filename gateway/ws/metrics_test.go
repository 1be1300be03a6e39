package ws

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

func TestDeliveriesAreMeasuredFromTheTimeOfTheMessage(t *testing.T) {
	for _, tt := range []struct {
		name    string
		id      func(now im.Time) string
		count   uint64
		seconds float64
	}{
		{"a message", func(now im.Time) string { return im.NewMessageID(now-3e6) + "@g" }, 1, 3},
		{"the second part of one with many recipients", func(now im.Time) string { return im.NewMessageID(now-3e6) + ".1@g" }, 1, 3},
		{"one whose clock is ahead", func(now im.Time) string { return im.NewMessageID(now+3e6) + "@g" }, 1, 0},
		{"one of which no time is known", func(im.Time) string { return "x" }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *world, h *Hub) {
				connect(h, "ann", time.Hour)
				data, err := json.Marshal(event.Pushed{Message: []byte(`{}`), To: []event.Recipient{{User: "ann", Seq: 1}}})
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Receive(t.Context(), []event.Event{{ID: tt.id(im.Now()), Type: event.Push, Data: data}}); err != nil {
					t.Fatal(err)
				}
				settle(0)
				var m dto.Metric
				if err := h.Metrics.delivery.Write(&m); err != nil {
					t.Fatal(err)
				}
				if got := m.Histogram; got.GetSampleCount() != tt.count || got.GetSampleSum() != tt.seconds {
					t.Errorf("%d deliveries of %v s, want %d of %v s", got.GetSampleCount(), got.GetSampleSum(), tt.count, tt.seconds)
				}
			})
		})
	}
}

func TestWhatAGatewayMayHoldIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		if got := testutil.ToFloat64(h.Metrics.limit); got != 10_000 {
			t.Errorf("the limit is %v connections", got)
		}
	})
}
