package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

const (
	// publishTimeout bounds a Publish whose context has no deadline.
	publishTimeout = 30 * time.Second

	// flushTimeout bounds how long Close waits for what is queued.
	flushTimeout = 5 * time.Second

	// recountEvery is how often a topic in use is asked for its partitions.
	recountEvery = 5 * time.Second
)

// Producer writes records to Kafka. It keeps a queue for each partition, with
// one request under way at a time; what is queued meanwhile is the next one
// (group commit), so that batches grow under load and are of one when idle.
//
// Records of one key go to one partition, as Java's clients have it (murmur2),
// as long as the topic keeps its number of partitions. They are written in the
// order in which they were handed over, and never while an earlier one of the
// partition may still be acknowledged, so that acknowledged records keep their
// order even when a request has to be repeated. A repeated request may write
// records twice: those who read know events by their id.
//
// It is safe for concurrent use.
type Producer struct {
	*cluster
	metrics *producerMetrics

	ctx     context.Context // ends when what is queued is given up
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	closed bool
	topics map[string]*topicQueues
}

// topicQueues are the queues of a topic.
type topicQueues struct {
	queues  atomic.Pointer[queues] // nil until the topic has been seen
	recount atomic.Int64           // when to ask for the partitions again, in ns
	mu      sync.Mutex             // held to replace queues
}

// queues are the queues of a topic's partitions, by partition.
type queues struct {
	list []*queue
	ids  []int // 0, 1, 2 …
}

// of returns the queue that records of a key go to.
func (qs *queues) of(key []byte) int {
	return kafkago.Murmur2Balancer{Consistent: true}.Balance(kafkago.Message{Key: key}, qs.ids...)
}

// Open returns the process's producer. It connects when first used.
func Open(_ context.Context, env *proc.Env) (*Producer, error) {
	c, err := openCluster(env)
	if err != nil {
		return nil, err
	}
	return proc.Share(env, "kafka.Producer", func() (*Producer, func() error, error) {
		p := newProducer(c, newProducerMetrics(env))
		return p, p.Close, nil
	})
}

func newProducer(c *cluster, m *producerMetrics) *Producer {
	p := &Producer{cluster: c, metrics: m, topics: make(map[string]*topicQueues)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Publish writes events and returns when all are acknowledged by all replicas
// in sync. If it fails, some may have been written all the same; the error is
// one of those that PublishEach gives, a transient one if there is any. The
// data of events must not change afterwards.
func (p *Producer) Publish(ctx context.Context, topic string, events []event.Event) error {
	var worst error
	for _, err := range p.PublishEach(ctx, topic, events) {
		if err != nil && (worst == nil || !im.KindOf(worst).Transient() && im.KindOf(err).Transient()) {
			worst = err
		}
	}
	if worst != nil {
		return fmt.Errorf("publishing to %s: %w", topic, worst)
	}
	return nil
}

// PublishEach writes events and returns an error for each, in order, nil where
// it is acknowledged. The kinds are TooLarge, Overloaded (nothing was tried:
// the queue is full), and Unavailable, which leaves open whether the event was
// written. It ends with ctx, or after 30 s if that has no deadline.
func (p *Producer) PublishEach(ctx context.Context, topic string, events []event.Event) []error {
	return p.Enqueue(ctx, topic, events)()
}

// Enqueue is PublishEach in two steps: it returns when the events have their
// turn in the order of writing, before any later call's, and what it returns
// waits for them to be acknowledged. That has to be called.
func (p *Producer) Enqueue(ctx context.Context, topic string, events []event.Event) (wait func() []error) {
	records := make([]Record, len(events))
	for i := range events {
		records[i] = RecordOf(&events[i])
	}
	return p.enqueue(ctx, topic, records)
}

// Write is PublishEach for records.
func (p *Producer) Write(ctx context.Context, topic string, records []Record) []error {
	return p.enqueue(ctx, topic, records)()
}

func (p *Producer) enqueue(ctx context.Context, topic string, records []Record) (wait func() []error) {
	if len(records) == 0 {
		return func() []error { return nil }
	}
	cancel := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, publishTimeout)
	}
	c := newCall(len(records))
	qs, err := p.queues(ctx, topic)
	if err != nil {
		cancel()
		c.abandon(err)
		return func() []error { return c.errs }
	}
	for q, items := range route(c, qs, records) {
		if err := q.put(items); err != nil {
			for _, it := range items {
				c.finish(it.index, err)
			}
		}
	}
	return func() []error {
		defer cancel()
		select {
		case <-c.done:
		case <-ctx.Done():
			c.abandon(ctx.Err())
		}
		return c.errs
	}
}

// route calls yield with what each queue gets of records, in order.
func route(c *call, qs *queues, records []Record) func(yield func(*queue, []item) bool) {
	return func(yield func(*queue, []item) bool) {
		parts := make([][]item, len(qs.list))
		for i := range records {
			size := records[i].size()
			if size > maxRecord {
				c.finish(i, errTooLarge(nil))
				continue
			}
			n := qs.of(records[i].Key)
			parts[n] = append(parts[n], item{call: c, index: i, rec: records[i], size: size})
		}
		for n, items := range parts {
			if len(items) > 0 && !yield(qs.list[n], items) {
				return
			}
		}
	}
}

// queues returns the queues of a topic, one for each partition.
func (p *Producer) queues(ctx context.Context, topic string) (*queues, error) {
	p.mu.Lock()
	t, ok := p.topics[topic]
	if !ok && !p.closed {
		t = &topicQueues{}
		p.topics[topic] = t
	}
	p.mu.Unlock()
	if t == nil {
		return nil, errClosed
	}
	now := time.Now().UnixNano()
	if qs := t.queues.Load(); qs != nil {
		if at := t.recount.Load(); now > at && t.recount.CompareAndSwap(at, now+int64(recountEvery)) {
			go func() {
				ctx, cancel := context.WithTimeout(p.ctx, requestTimeout)
				defer cancel()
				if n, err := p.partitions(ctx, topic); err == nil {
					t.grow(p, topic, n)
				}
			}()
		}
		return qs, nil
	}
	n, err := p.awaitPartitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	t.recount.Store(now + int64(recountEvery))
	t.grow(p, topic, n)
	return t.queues.Load(), nil
}

// grow adds queues until there are n.
func (t *topicQueues) grow(p *Producer, topic string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	qs := &queues{}
	if old := t.queues.Load(); old != nil {
		qs.list, qs.ids = slices.Clone(old.list), slices.Clone(old.ids)
	}
	for i := len(qs.list); i < n; i++ {
		qs.list = append(qs.list, &queue{Producer: p, topic: topic, partition: i})
		qs.ids = append(qs.ids, i)
	}
	t.queues.Store(qs)
}

// Close writes what is queued, for 5 s at most, and takes nothing more. What
// is not written by then fails as Unavailable.
func (p *Producer) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	idle := make(chan struct{})
	go func() { p.workers.Wait(); close(idle) }()
	timeout := time.NewTimer(flushTimeout)
	defer timeout.Stop()
	select {
	case <-idle:
	case <-timeout.C:
	}
	p.cancel()
	<-idle
	return nil
}

var errClosed = im.Errorf(im.Unavailable, "the process is stopping: try again")

// start runs f as long as the producer is open.
func (p *Producer) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.workers.Go(f)
	return true
}

// call is one Write waiting for its records.
type call struct {
	done chan struct{} // closed when every record has its result
	gone atomic.Bool   // nobody waits any more

	mu    sync.Mutex
	left  int
	ended []bool
	errs  []error
	cause error // why it is taking so long
}

func newCall(n int) *call {
	return &call{done: make(chan struct{}), left: n, ended: make([]bool, n), errs: make([]error, n)}
}

// finish sets the result of a record.
func (c *call) finish(i int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() || c.ended[i] {
		return
	}
	c.ended[i], c.errs[i] = true, err
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// note says why the records of c are not written yet.
func (c *call) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cause = err
}

// abandon ends the wait: what has no result by now fails with err.
func (c *call) abandon(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone.Store(true)
	var known *im.Error
	if !errors.As(err, &known) {
		if c.cause != nil {
			err = fmt.Errorf("%w: %w", err, c.cause)
		}
		err = unavailable(err, "the message log did not acknowledge in time: try again")
	}
	for i := range c.errs {
		if !c.ended[i] {
			c.ended[i], c.errs[i] = true, err
		}
	}
}
