package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestAcknowledgedRecordsAreReadThoughTheBrokerIsKilled(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	env := environment(t, broker.URL)
	p := producer(t, env)
	topic := newTopic(t, env, 3)
	r := read(t, env, imtest.Name(), topic, nil)

	var mu sync.Mutex
	acked := make(map[string]bool)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for k := range 6 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				e := say(fmt.Sprint(k), n)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := p.Publish(ctx, topic, []event.Event{e})
				cancel()
				if err == nil {
					mu.Lock()
					acked[e.ID] = true
					mu.Unlock()
				} else if !errors.Is(err, im.Unavailable) {
					t.Error(err)
				}
			}
		})
	}
	written := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acked)
	}
	for range 3 {
		n := written()
		imtest.Until(t, "writing goes on", func() bool { return written() > n+500 })
		broker.Kill()
		broker.Restart()
	}
	n := written()
	imtest.Until(t, "writing goes on after the last restart", func() bool { return written() > n+100 })
	close(stop)
	writers.Wait()
	imtest.Until(t, "what was acknowledged is read", func() bool {
		mu.Lock()
		defer mu.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		for id := range acked {
			if !r.seen[id] {
				return false
			}
		}
		return true
	})
	r.inOrder(t, func(key string, n int) bool { return acked[fmt.Sprintf("%s/%d", key, n)] })
	t.Logf("%d acknowledged, %d read, %d times", len(acked), r.count(), r.total())
}

func TestAConsumerGoesOnAfterItsBrokerWasFrozen(t *testing.T) {
	t.Parallel()
	broker := imtest.Start(t, "kafka")
	env := environment(t, broker.URL)
	p := producer(t, env)
	topic := newTopic(t, env, 2)
	r := read(t, env, imtest.Name(), topic, nil)
	if err := p.Publish(t.Context(), topic, []event.Event{say("a", 0), say("b", 0)}); err != nil {
		t.Fatal(err)
	}
	imtest.Until(t, "the first are read", func() bool { return r.count() == 2 })
	broker.Freeze()
	time.Sleep(7 * time.Second) // longer than a commit, a heartbeat or a fetch may take
	broker.Thaw()
	if err := p.Publish(within(t, time.Minute), topic, []event.Event{say("a", 1), say("b", 1)}); err != nil {
		t.Fatal(err)
	}
	imtest.Until(t, "the rest is read", func() bool { return r.count() == 4 })
}

func TestConsumersShareAndLoseNothingWhenOneComesOrGoes(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic, group := newTopic(t, env, 6), imtest.Name()
	const keys = 12
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var sent [keys]int
	for k := range keys {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				if err := p.Publish(t.Context(), topic, []event.Event{say(fmt.Sprint(k), sent[k])}); err != nil {
					t.Error(err)
					return
				}
				sent[k]++
			}
		})
	}
	all := []*reading{read(t, environment(t, imtest.Kafka(t)...), group, topic, nil)}
	more := func(r *reading, n int) {
		t.Helper()
		now := r.count()
		imtest.Until(t, "the consumer gets more", func() bool { return r.count() >= now+n })
	}
	more(all[0], 200)
	all = append(all, read(t, environment(t, imtest.Kafka(t)...), group, topic, nil))
	more(all[1], 200)
	more(all[0], 200) // both
	all[0].stop()
	more(all[1], 200)
	all = append(all, read(t, environment(t, imtest.Kafka(t)...), group, topic, nil))
	more(all[2], 200)
	close(stop)
	writers.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	seen := func() (different, records int) {
		ids := make(map[string]bool)
		for _, r := range all {
			r.mu.Lock()
			for id := range r.seen {
				ids[id] = true
			}
			records += len(r.records)
			r.mu.Unlock()
		}
		return len(ids), records
	}
	imtest.Until(t, "all is read by one or the other", func() bool { n, _ := seen(); return n == total })
	if _, records := seen(); records > total*3/2 {
		t.Errorf("%d records were handed over for %d: too much is done again", records, total)
	}
}

func TestOnlyWhatIsDoneIsCommitted(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic, group := newTopic(t, env, 1), imtest.Name()
	publish := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			if err := p.Publish(t.Context(), topic, []event.Event{say("k", n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(0, 10)
	first := read(t, env, group, topic, nil)
	imtest.Until(t, "ten are read", func() bool { return first.total() == 10 })
	first.stop()

	publish(10, 15)
	entered := make(chan struct{}, 1)
	second := read(t, env, group, topic, func(ctx context.Context, records []Record) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	})
	<-entered
	second.stop()

	third := read(t, env, group, topic, nil)
	imtest.Until(t, "the rest is read", func() bool { return third.total() >= 5 })
	third.stop()
	if first, n := third.records[0].Offset, third.total(); first != 10 || n != 5 {
		t.Errorf("%d records from offset %d came, want 5 from 10", n, first)
	}

	// Done at the very last moment, when the generation is over, is done.
	publish(15, 16)
	fourth := read(t, env, group, topic, func(ctx context.Context, records []Record) error {
		entered <- struct{}{}
		<-ctx.Done()
		time.Sleep(200 * time.Millisecond)
		return nil
	})
	<-entered
	fourth.stop()
	publish(16, 17)
	fifth := read(t, env, group, topic, nil)
	imtest.Until(t, "the last is read", func() bool { return fifth.total() > 0 })
	if got := fifth.records[0].Offset; got != 16 {
		t.Errorf("offset %d came again", got)
	}
}

// blocking is a log that waits, at the first line of a message, for release.
type blocking struct {
	slog.Handler
	at      string
	release <-chan struct{}
}

func (b blocking) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == b.at {
		<-b.release
	}
	return b.Handler.Handle(ctx, r)
}

// However late its goroutines run, a generation that hands records over commits
// what is done of them.
func TestWhatIsDoneIsCommittedThoughTheGenerationIsOverAtOnce(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	topic, group := newTopic(t, env, 1), imtest.Name()
	if err := producer(t, env).Publish(t.Context(), topic, []event.Event{say("k", 0)}); err != nil {
		t.Fatal(err)
	}
	slow, release, entered := environment(t, imtest.Kafka(t)...), make(chan struct{}), make(chan struct{})
	slow.Log = slog.New(blocking{slow.Log.Handler(), "joined", release})
	first := read(t, slow, group, topic, func(ctx context.Context, records []Record) error {
		close(entered)
		<-ctx.Done()
		return nil
	})
	<-entered
	time.AfterFunc(100*time.Millisecond, func() { close(release) }) // when it is told to stop
	first.stop()
	if err := producer(t, env).Publish(t.Context(), topic, []event.Event{say("k", 1)}); err != nil {
		t.Fatal(err)
	}
	second := read(t, env, group, topic, nil)
	imtest.Until(t, "the other record is read", func() bool { return second.total() > 0 })
	if got := second.records[0].Offset; got != 1 {
		t.Errorf("offset %d came again", got)
	}
}

func TestAHandlerThatTakesLongPausesItsPartitionOnly(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic := newTopic(t, env, 2)
	busy := make(chan struct{})
	var inSlow, attempts atomic.Int32
	r := read(t, env, imtest.Name(), topic, func(ctx context.Context, records []Record) error {
		if string(records[0].Key) != "slow" {
			return nil
		}
		if inSlow.Add(1) > 1 {
			t.Error("the partition was handed over twice at a time")
		}
		defer inSlow.Add(-1)
		attempts.Add(1)
		select {
		case <-busy:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sessionTimeout / 4): // fails some times
			return errors.New("not yet")
		}
	})
	qs, err := p.queues(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	other := "a" // a key of the other partition
	for qs.of([]byte(other)) == qs.of([]byte("slow")) {
		other += "a"
	}
	if err := p.Publish(t.Context(), topic, []event.Event{say("slow", 0)}); err != nil {
		t.Fatal(err)
	}
	// Longer than a member may be silent: it has to send heartbeats meanwhile.
	start := time.Now()
	for n := 0; time.Since(start) < sessionTimeout+2*time.Second; n++ {
		if err := p.Publish(t.Context(), topic, []event.Event{say(other, n), say("slow", n+1)}); err != nil {
			t.Fatal(err)
		}
		imtest.Until(t, "the other partition goes on", func() bool { return r.count() == n+1 })
		time.Sleep(100 * time.Millisecond)
	}
	if n := attempts.Load(); n < 3 {
		t.Errorf("what failed was handed over %d times", n)
	}
	n := r.count()
	close(busy)
	imtest.Until(t, "the slow partition catches up", func() bool { return r.count() == 2*n+1 })
	r.inOrder(t, nil)
	if r.total() != 2*n+1 {
		t.Errorf("%d records were handed over, want %d: the group has been disturbed", r.total(), 2*n+1)
	}
}

func TestAnOffsetThatIsNotThereMeansTheBeginning(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic, group := newTopic(t, env, 1), imtest.Name()
	for n := range 5 {
		if err := p.Publish(t.Context(), topic, []event.Event{say("k", n)}); err != nil {
			t.Fatal(err)
		}
	}
	res, err := p.client.OffsetCommit(t.Context(), &kafkago.OffsetCommitRequest{GroupID: group, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{topic: {{Partition: 0, Offset: 1000}}}})
	if err != nil || res.Topics[topic][0].Error != nil {
		t.Fatal(err, res)
	}
	r := read(t, env, group, topic, nil)
	imtest.Until(t, "all is read", func() bool { return r.count() == 5 })
}

func TestCompressedBatchesAreReadFromTheMiddle(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	c, err := openCluster(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []kafkago.Compression{0, kafkago.Gzip, kafkago.Snappy, kafkago.Lz4, kafkago.Zstd} {
		topic := newTopic(t, env, 1)
		for b := range 3 { // three batches of ten
			records := make([]kafkago.Record, 10)
			for i := range records {
				records[i] = kafkago.Record{Value: kafkago.NewBytes(fmt.Appendf(nil, "%d", b*10+i))}
			}
			res, err := c.client.Produce(t.Context(), &kafkago.ProduceRequest{Topic: topic, RequiredAcks: kafkago.RequireAll,
				Compression: codec, Records: kafkago.NewRecordReader(records...)})
			if err != nil || res.Error != nil {
				t.Fatal(err, res)
			}
		}
		r := reader{cluster: c, topic: topic, next: 17, maxBytes: 1}
		var got []string
		for len(got) < 13 {
			records, err := r.read(within(t, time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			for _, rec := range records {
				got = append(got, string(rec.Value))
				if fmt.Sprint(rec.Offset) != string(rec.Value) {
					t.Fatalf("%v: offset %d holds %s", codec, rec.Offset, rec.Value)
				}
			}
		}
		if got[0] != "17" || got[12] != "29" || r.next != 30 || r.end != 30 {
			t.Errorf("%v: read %v, next is %d of %d", codec, got, r.next, r.end)
		}
	}
}

func TestBatchesWithoutRecordsArePassedOver(t *testing.T) {
	rec := func(offset int64) protocol.Record {
		return protocol.Record{Offset: offset, Value: protocol.NewBytes([]byte{'0' + byte(offset)})}
	}
	batch := func(base int64, records ...protocol.Record) protocol.RecordReader {
		return &protocol.RecordBatch{BaseOffset: base, Records: protocol.NewRecordReader(records...)}
	}
	control := func(base int64) protocol.RecordReader {
		return &protocol.ControlBatch{BaseOffset: base, Records: protocol.NewRecordReader(rec(base))}
	}
	for _, tt := range []struct {
		name    string
		from    []protocol.RecordReader
		offset  int64
		want    string
		next    int64
		nothing bool
	}{
		{"nothing has come", nil, 4, "", 4, true},
		{"all of a batch", []protocol.RecordReader{batch(0, rec(0), rec(1))}, 0, "01", 2, false},
		{"a batch that begins before", []protocol.RecordReader{batch(0, rec(0), rec(1), rec(2))}, 1, "12", 3, false},
		{"the end of a transaction alone", []protocol.RecordReader{control(3)}, 3, "", 4, false},
		{"the end of a transaction between", []protocol.RecordReader{batch(0, rec(0)), control(1), batch(2, rec(2))}, 0, "02", 3, false},
		{"offsets that were compacted away", []protocol.RecordReader{batch(0, rec(0), rec(5))}, 0, "05", 6, false},
		{"a batch of which compaction left nothing", []protocol.RecordReader{batch(3)}, 4, "", 5, false},
		{"an empty batch before another", []protocol.RecordReader{batch(0), batch(6, rec(6))}, 2, "6", 7, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var from kafkago.RecordReader = &protocol.RecordStream{Records: tt.from}
			if tt.nothing {
				from = kafkago.NewRecordReader()
			}
			records, next, err := recordsFrom(from, tt.offset)
			var got string
			for _, r := range records {
				got += string(r.Value)
			}
			if got != tt.want || next != tt.next || err != nil {
				t.Errorf("got %q, then offset %d, %v; want %q, %d", got, next, err, tt.want, tt.next)
			}
		})
	}
}

type broken struct{ n int }

func (b *broken) ReadRecord() (*protocol.Record, error) {
	if b.n++; b.n == 1 {
		return &protocol.Record{Offset: 1}, nil
	}
	return nil, io.ErrUnexpectedEOF
}

func TestABatchThatCannotBeReadIsNotPassedOver(t *testing.T) {
	_, next, err := recordsFrom(&protocol.RecordStream{Records: []protocol.RecordReader{&broken{}}}, 1)
	if err == nil || next != 1 {
		t.Errorf("next is %d, %v", next, err)
	}
}

func TestNewPartitionsAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	env := environment(t, imtest.Kafka(t)...)
	p := producer(t, env)
	topic := newTopic(t, env, 1)
	r := read(t, env, imtest.Name(), topic, nil)
	n := 0
	publish := func() {
		t.Helper()
		var events []event.Event
		for range 20 {
			events = append(events, say(fmt.Sprint("key ", n), 0))
			n++
		}
		if err := p.Publish(t.Context(), topic, events); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	imtest.Until(t, "the first are read", func() bool { return r.count() == n })
	res, err := p.client.CreatePartitions(t.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: 3}}})
	if err != nil || res.Errors[topic] != nil {
		t.Fatal(err, res)
	}
	imtest.Until(t, "the new partitions are written to", func() bool {
		publish()
		time.Sleep(50 * time.Millisecond)
		return len(p.topics[topic].queues.Load().list) == 3
	})
	publish()
	imtest.Until(t, "the new partitions are read", func() bool { return r.count() == n })
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.records, func(r Record) bool { return r.Partition == 2 }) {
		t.Error("nothing was in the last partition")
	}
}

func TestWorkIsCalledAgainAfterAPanic(t *testing.T) {
	env := environment(t, imtest.Kafka(t)...)
	topic := newTopic(t, env, 1)
	if err := producer(t, env).Publish(t.Context(), topic, []event.Event{say("k", 0), say("k", 1)}); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	r := read(t, env, imtest.Name(), topic, func(context.Context, []Record) error {
		if calls.Add(1) == 1 {
			panic("at the disco")
		}
		return nil
	})
	imtest.Until(t, "what was fetched before the panic comes again", func() bool { return r.count() == 2 })
	r.inOrder(t, nil)
	if n := calls.Load(); n < 2 {
		t.Errorf("it was handed records %d times", n)
	}
}
