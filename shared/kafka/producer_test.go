package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestEventsOfAKeyKeepTheirOrder(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic := newTopic(t, env, 4)
	const keys, each = 24, 120
	var wg sync.WaitGroup
	for k := range keys {
		wg.Go(func() {
			key := fmt.Sprintf("key %d", k)
			for n := 0; n < each; {
				var batch []event.Event
				for range 1 + (n+k)%5 { // sometimes one, sometimes several
					if n < each {
						batch = append(batch, say(key, n))
						n++
					}
				}
				if err := p.Publish(t.Context(), topic, batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r := read(t, env, imtest.Name(), topic, nil)
	imtest.Until(t, "all events are read", func() bool { return r.count() == keys*each })
	r.inOrder(t, nil)
	if r.total() != keys*each {
		t.Errorf("%d records were read of %d written", r.total(), keys*each)
	}
	if n, s := sampled(t, p.metrics.records); n > s*2/3 {
		t.Errorf("%v records were written by %v requests: what waits while one is under way is to go as one batch", s, n)
	}
}

// sampled returns how many samples a histogram has, and their sum.
func sampled(t testing.TB, h prometheus.Histogram) (n, sum float64) {
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	return float64(m.Histogram.GetSampleCount()), m.Histogram.GetSampleSum()
}

func TestAnEventIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	topic := newTopic(t, env, 1)
	want := event.Event{
		ID: "1", Type: "t", Source: "s", Subject: "Betreff: Größe", Time: im.Now(), PartitionKey: "k",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Seal: "a.b", Data: []byte(`{ "b": 1,"a":"é\n" }`),
	}
	if err := producer(t, env).Publish(t.Context(), topic, []event.Event{want}); err != nil {
		t.Fatal(err)
	}
	r := read(t, env, imtest.Name(), topic, nil)
	imtest.Until(t, "the event is read", func() bool { return r.total() == 1 })
	rec := r.records[0]
	got, err := rec.Event()
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if string(rec.Key) != "k" || string(rec.Value) != string(want.Data) || rec.Header("content-type") != "application/json" || rec.Header("ce_seal") != "a.b" {
		t.Errorf("not in binary mode: %+v", rec)
	}
}

// The partitions of these keys among 8 are those of Java's DefaultPartitioner.
func TestKeysGoWhereJavaPutsThem(t *testing.T) {
	qs := &queues{}
	for i := range 8 {
		qs.ids = append(qs.ids, i)
	}
	for key, hash := range map[string]int32{ // of UtilsTest.testMurmur2 in Apache Kafka
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		if got, want := qs.of([]byte(key)), int(uint32(hash)&0x7fffffff)%8; got != want {
			t.Errorf("%s goes to partition %d, want %d", key, got, want)
		}
	}
}

func TestOnlyTheRecordThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic := newTopic(t, env, 1, kafkago.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "20000"})
	events := make([]event.Event, 30) // more than one batch may have
	for i := range events {
		events[i] = say("k", i)
		pad := 1000
		if i == 7 || i == 23 {
			pad = 30_000
		}
		events[i].Data = []byte(`{"n":` + fmt.Sprint(i) + `,"pad":"` + strings.Repeat("x", pad) + `"}`)
	}
	for i, err := range p.PublishEach(t.Context(), topic, events) {
		if large := i == 7 || i == 23; large && !errors.Is(err, im.TooLarge) || !large && err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if err := p.Publish(t.Context(), topic, events[6:8]); !errors.Is(err, im.TooLarge) {
		t.Errorf("publishing says %v", err)
	}
	huge := say("k", 0)
	huge.Data = []byte(`"` + strings.Repeat("x", maxRecord) + `"`)
	if err := p.Publish(t.Context(), topic, []event.Event{huge}); !errors.Is(err, im.TooLarge) {
		t.Errorf("publishing what no broker is asked to take says %v", err)
	}
	r := read(t, env, imtest.Name(), topic, nil)
	imtest.Until(t, "the others are read", func() bool { return r.count() == 28 })
	r.inOrder(t, nil)
}

func TestATopicThatIsNotThereIsWaitedFor(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	err := p.Publish(within(t, 300*time.Millisecond), imtest.Name(), []event.Event{say("k", 0)})
	if !errors.Is(err, im.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestABrokerThatIsFrozenIsUnavailableAndThenNot(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	env := environment(t, broker.URL)
	p := producer(t, env)
	topic := newTopic(t, env, 1)
	if err := p.Publish(t.Context(), topic, []event.Event{say("k", 0)}); err != nil {
		t.Fatal(err)
	}
	broker.Freeze()
	start := time.Now()
	err := p.Publish(within(t, 500*time.Millisecond), topic, []event.Event{say("k", 1)})
	if took := time.Since(start); !errors.Is(err, im.Unavailable) || took > time.Minute {
		t.Errorf("after %s: %v", took, err)
	}

	// One who gives up takes nobody else's records along, nor do those who
	// came later overtake.
	patient := make(chan error, 20)
	var wg, hasty sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			patient <- p.Publish(ctx, topic, []event.Event{say(fmt.Sprint("patient ", n), 0), say(fmt.Sprint("patient ", n), 1)})
		})
		hasty.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if err := p.Publish(ctx, topic, []event.Event{say("hasty", n)}); !errors.Is(err, im.Unavailable) {
				t.Errorf("a hasty one got %v", err)
			}
		})
	}
	hasty.Wait()
	broker.Thaw()
	wg.Wait()
	for range 20 {
		if err := <-patient; err != nil {
			t.Error(err)
		}
	}
	r := read(t, env, imtest.Name(), topic, nil)
	imtest.Until(t, "the events of the patient are read", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for n := range 20 {
			if !r.seen[fmt.Sprintf("patient %d/1", n)] {
				return false
			}
		}
		return true
	})
	r.inOrder(t, func(key string, _ int) bool { return key != "hasty" })
	for id := range r.seen {
		if strings.HasPrefix(id, "hasty") {
			t.Errorf("%s was written though it was given up before", id)
		}
	}
}

func TestAQueueIsBounded(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	env := environment(t, broker.URL)
	p := producer(t, env)
	topic := newTopic(t, env, 1)
	if err := p.Publish(t.Context(), topic, []event.Event{say("k", 0)}); err != nil {
		t.Fatal(err)
	}
	broker.Freeze()
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	var overloaded, written atomic.Int64
	const callers, each = 30, 1000
	for c := range callers {
		wg.Go(func() {
			events := make([]event.Event, each)
			for n := range events {
				events[n] = say(fmt.Sprint(c), n)
			}
			switch err := p.Publish(ctx, topic, events); {
			case err == nil:
				written.Add(1)
			case errors.Is(err, im.Overloaded):
				overloaded.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	imtest.Until(t, "what does not fit is refused", func() bool { return overloaded.Load() == callers-maxQueueRecords/each })
	broker.Thaw()
	wg.Wait()
	if written.Load() != maxQueueRecords/each {
		t.Errorf("%d of %d were written", written.Load(), maxQueueRecords/each)
	}
	q := p.topics[topic].queues.Load().list[0]
	imtest.Until(t, "the queue is empty", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.records == 0 && q.bytes == 0 && !q.running
	})
}

func TestAQueueHasRoomAgainForThoseWhoWaitWhenOthersGaveUp(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	env := environment(t, broker.URL)
	p := producer(t, env)
	topic := newTopic(t, env, 1)
	if err := p.Publish(t.Context(), topic, []event.Event{say("k", 0)}); err != nil {
		t.Fatal(err)
	}
	broker.Freeze()
	events := make([]event.Event, maxQueueRecords/2)
	for n := range events {
		events[n] = say("k", n)
	}
	for n := range 5 {
		if n == 4 {
			broker.Thaw()
			if err := p.Publish(within(t, time.Minute), topic, events); err != nil {
				t.Error(err)
			}
			break
		}
		if err := p.Publish(within(t, 2*purgeEvery), topic, events); !errors.Is(err, im.Unavailable) {
			t.Errorf("try %d: %v", n, err)
		}
	}
}

func TestClosingWritesWhatIsQueued(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	closing := environment(t, imtest.Kafka(t)...)
	p := producer(t, closing)
	topic := newTopic(t, env, 1)
	if err := p.Publish(t.Context(), topic, []event.Event{say("k", 0)}); err != nil {
		t.Fatal(err)
	}
	const callers = 50
	errs := make(chan error, callers)
	var started sync.WaitGroup
	for n := range callers {
		started.Add(1)
		go func() {
			started.Done()
			errs <- p.Publish(context.Background(), topic, []event.Event{say("k", n)})
		}()
	}
	started.Wait()
	if err := closing.Close(); err != nil {
		t.Fatal(err)
	}
	acked := 0
	for range callers {
		if err := <-errs; err == nil {
			acked++
		} else if !errors.Is(err, im.Unavailable) {
			t.Error(err)
		}
	}
	r := read(t, env, imtest.Name(), topic, nil)
	imtest.Until(t, "what was acknowledged is read", func() bool { return r.total() >= acked+1 })
	if err := p.Publish(t.Context(), topic, []event.Event{say("k", 0)}); !errors.Is(err, im.Unavailable) {
		t.Errorf("a closed producer says %v", err)
	}
}

func TestTopicsAreMadeOnceAndLeftAlone(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Start(t, "kafka").URL)
	c, err := openCluster(env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: event.TopicDeliveries, NumPartitions: 3, ReplicationFactor: 1,
	}}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := EnsureTopics(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	for topic, want := range map[string]int{event.TopicMessages: 8, event.TopicDeliveries: 3, event.TopicDeadLetters: 1} {
		if n, err := c.partitions(t.Context(), topic); n != want || err != nil {
			t.Errorf("%s has %d partitions, %v; want %d", topic, n, err, want)
		}
	}
	res, err := c.client.DescribeConfigs(t.Context(), &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: event.TopicMessages,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Resources[0].ConfigEntries {
		if e.ConfigName == "retention.ms" && e.ConfigValue != "604800000" {
			t.Errorf("messages are kept for %s ms", e.ConfigValue)
		}
	}
}

func TestSettingsThatCannotBeAreNamed(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"no brokers":   {},
		"no port":      {"KAFKA_BROKERS": "localhost"},
		"no partition": {"KAFKA_BROKERS": "localhost:1", "KAFKA_PARTITIONS": "0"},
	} {
		env := imtest.Env(t, vars)
		if err := EnsureTopics(t.Context(), env); err == nil || !strings.Contains(err.Error(), "KAFKA_") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
