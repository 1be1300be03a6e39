package inbox

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// counted is a store that counts inserts that met a conflict.
type counted struct {
	store
	inserts, conflicts atomic.Int64
}

func (c *counted) Insert(ctx context.Context, entries []im.Entry) (int, error) {
	n, err := c.store.Insert(ctx, entries)
	c.inserts.Add(1)
	if err != nil {
		c.conflicts.Add(1)
	}
	return n, err
}

// shared notes are hints for many.
type shared struct {
	mu sync.Mutex
	notes
}

func (s *shared) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes.Heads(ctx, users)
}

func (s *shared) RaiseHeads(ctx context.Context, heads map[string]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes.RaiseHeads(ctx, heads)
}

// BenchmarkAppend appends as the partitions of a topic do: 8 at a time, each
// with the conversations that are its own, between users who have many. The
// fewer users there are, the more appends are in each other's way.
func BenchmarkAppend(b *testing.B) {
	const partitions, batch = 8, 50
	url := imtest.Start(b, "postgres").URL
	env := imtest.Env(b, map[string]string{"INBOX_STORE": "postgres", "POSTGRES_URL": url})
	if err := postgres.Migrate(b.Context(), env); err != nil {
		b.Fatal(err)
	}
	for _, users := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("users=", users), func(b *testing.B) {
			names := make([]string, users)
			for i := range names {
				names[i] = im.NewID()
			}
			s, h := &counted{store: opened(b, env)}, &shared{}
			p := newPersister(s, h, &roster{}, &past{}, &ledger{told: make(map[delivered]bool)}, func(*event.Event) {}, slog.New(slog.DiscardHandler))
			var left, clock atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var all sync.WaitGroup
			for mine := range uint32(partitions) {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						events := make([]event.Event, 0, batch)
						for len(events) < batch {
							x, y := names[rand.IntN(users)], names[rand.IntN(users)]
							c := im.Direct(x, y)
							f := fnv.New32a()
							f.Write([]byte(c))
							if x == y || f.Sum32()%partitions != mine {
								continue
							}
							e := accepted(int(clock.Add(1)), c, x)
							events = append(events, e)
						}
						for p.persist(b.Context(), events) != nil {
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(2*batch*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(s.conflicts.Load())/float64(b.N), "conflicts/op")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	e := accepted(1, im.Direct(ann, bob), ann, ann, bob)
	for b.Loop() {
		if _, err := decode(&e); err != nil {
			b.Fatal(err)
		}
	}
}
