package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/imtest"
)

// What it takes to publish one event of about 200 bytes of data, by how many
// publish at a time, on 8 partitions.
func BenchmarkPublish(b *testing.B) {
	env := environment(b, imtest.Kafka(b)...)
	p := producer(b, env)
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			topic := newTopic(b, env, 8)
			warm := say("warm", 0)
			if err := p.Publish(b.Context(), topic, []event.Event{warm}); err != nil {
				b.Fatal(err)
			}
			n, took := 0, make([][]time.Duration, callers)
			next := make(chan int, 1024)
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range next {
						start := time.Now()
						if err := p.Publish(b.Context(), topic, []event.Event{large(i)}); err != nil {
							b.Error(err)
						}
						took[c] = append(took[c], time.Since(start))
					}
				})
			}
			for b.Loop() {
				next <- n
				n++
			}
			close(next)
			wg.Wait()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// What it takes to hand one event to a handler that needs no time, or 1 ms for
// each batch.
func BenchmarkConsume(b *testing.B) {
	env := environment(b, imtest.Kafka(b)...)
	p := producer(b, env)
	for _, pause := range []time.Duration{0, time.Millisecond} {
		b.Run(fmt.Sprintf("handler=%s", pause), func(b *testing.B) {
			topic := newTopic(b, env, 8)
			events := make([]event.Event, 0, 1000)
			for n := range b.N {
				if events = append(events, large(n)); len(events) == cap(events) || n == b.N-1 {
					if err := p.Publish(b.Context(), topic, events); err != nil {
						b.Fatal(err)
					}
					events = events[:0]
				}
			}
			b.ResetTimer()
			r := read(b, env, imtest.Name(), topic, func(context.Context, []Record) error { time.Sleep(pause); return nil })
			imtest.Until(b, "all is read", func() bool { return r.total() == b.N })
			b.StopTimer()
			r.stop()
		})
	}
}

// large returns an event with about 200 bytes of data.
func large(n int) event.Event {
	e := say(fmt.Sprint("key ", n%997), n)
	e.Data = fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, strings.Repeat("x", 180))
	return e
}
