package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

// environment returns an Env on brokers.
func environment(t testing.TB, brokers ...string) *proc.Env {
	t.Helper()
	return imtest.Env(t, map[string]string{"KAFKA_BROKERS": strings.Join(brokers, ",")})
}

func producer(t testing.TB, env *proc.Env) *Producer {
	t.Helper()
	p, err := Open(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newTopic makes a topic of the test's own.
func newTopic(t testing.TB, env *proc.Env, partitions int, config ...kafkago.ConfigEntry) string {
	t.Helper()
	c, err := openCluster(env)
	if err != nil {
		t.Fatal(err)
	}
	name := imtest.Name()
	res, err := c.client.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: config,
	}}})
	if err != nil || res.Errors[name] != nil {
		t.Fatalf("creating a topic: %v, %v", err, res)
	}
	return name
}

// say returns an event whose data is n, in the order of key.
func say(key string, n int) event.Event {
	return event.Event{
		ID: fmt.Sprintf("%s/%d", key, n), Type: "t", Source: "test", PartitionKey: key,
		Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// reading is a consumer and what it has been handed.
type reading struct {
	stop func() // waits for the consumer to leave

	mu      sync.Mutex
	records []Record
	seen    map[string]bool
}

// read starts a consumer of group. handle, if not nil, comes before the
// records are kept.
func read(t testing.TB, env *proc.Env, group, topic string, handle func(context.Context, []Record) error) *reading {
	t.Helper()
	r := &reading{seen: make(map[string]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Consumer{Group: group, Topics: []string{topic}, Work: serially(func(ctx context.Context, records []Record) error {
			if handle != nil {
				if err := handle(ctx, records); err != nil {
					return err
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.records = append(r.records, records...)
			for i := range records {
				r.seen[records[i].Header("ce_id")] = true
			}
			return nil
		})}.Run(ctx, env)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the consumer ended: %v", err)
			}
		case <-time.After(imtest.Patience(t)):
			t.Error("the consumer has not ended")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// serially works on one fetch after another, again while that fails.
func serially(handle func(context.Context, []Record) error) func(context.Context, *Partition) error {
	return func(ctx context.Context, p *Partition) error {
		for {
			got, err := p.Fetch(ctx)
			if err != nil {
				return err
			}
			for attempt := 0; len(got.Records) > 0 && handle(ctx, got.Records) != nil; attempt++ {
				if retry.Sleep(ctx, again.Equal(attempt+1)) != nil {
					return ctx.Err()
				}
			}
			if got.Moved {
				p.Done(got.Next)
			}
		}
	}
}

// count returns how many different events came.
func (r *reading) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// total returns how many records came.
func (r *reading) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.records)
}

// inOrder fails the test if the events of a key did not first come in the
// order 0, 1, 2 …, whatever came again. Events not in sent may be missing.
func (r *reading) inOrder(t testing.TB, sent func(key string, n int) bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := make(map[string]int)
	first := make(map[string]bool)
	for i := range r.records {
		e, err := r.records[i].Event()
		if err != nil {
			t.Fatal(err)
		}
		if first[e.ID] || sent != nil && !sent(e.PartitionKey, number(t, e)) {
			continue
		}
		first[e.ID] = true
		n := number(t, e)
		if prev, ok := last[e.PartitionKey]; ok && n < prev {
			t.Fatalf("%s came after %d", e.ID, prev)
		}
		last[e.PartitionKey] = n
	}
}

func number(t testing.TB, e event.Event) int {
	var d struct{ N int }
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatal(err)
	}
	return d.N
}
