package relay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/imtest"
)

// What it takes to bring an event that waits in Kafka to a function that does
// nothing with it, connector and function in one process.
func BenchmarkCatchUp(b *testing.B) {
	s := newSite(b, 8)
	events := make([]event.Event, 0, 1000)
	for n := range b.N {
		if events = append(events, s.event(fmt.Sprint("k", n%997), n)); len(events) == cap(events) || n == b.N-1 {
			s.publishAll(events...)
			events = events[:0]
		}
	}
	b.ResetTimer()
	s.relay()
	total := func() int {
		s.fn.mu.Lock()
		defer s.fn.mu.Unlock()
		return len(s.fn.done)
	}
	imtest.Until(b, "all are done", func() bool { return total() == b.N })
}

// How long an event takes from being published to being handled, one at a time.
func BenchmarkOneEvent(b *testing.B) {
	s := newSite(b, 8)
	handled := make(chan struct{}, 1)
	s.fn.behave(func([]event.Event) error { handled <- struct{}{}; return nil }, nil)
	s.relay()
	s.publish("k", 0, 1)
	<-handled
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		s.publish("k", len(took), len(took)+1)
		<-handled
		took = append(took, time.Since(start))
		time.Sleep(time.Millisecond)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
