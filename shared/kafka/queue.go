package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	// What one request carries at most. The bytes stay below the 1 MiB that
	// brokers take by default (message.max.bytes); a larger record goes alone.
	maxBatchRecords = 2000
	maxBatchBytes   = 900 << 10

	// What a partition's queue holds at most, with what is under way. More
	// from one call is let in when there is nothing else.
	maxQueueRecords = 10_000
	maxQueueBytes   = 8 << 20

	purgeEvery = 100 * time.Millisecond

	// maxRecord is the most bytes of a record that a broker is asked to take.
	maxRecord = 8 << 20
)

// item is a record in a queue.
type item struct {
	call  *call
	index int // in the call
	rec   Record
	size  int
}

// queue is what waits to be written to a partition.
type queue struct {
	*Producer
	topic     string
	partition int

	mu      sync.Mutex
	items   []item
	records int // in items and under way
	bytes   int // likewise
	running bool
	purged  time.Time
}

// put adds items, all or none of them.
func (q *queue) put(items []item) error {
	size := 0
	for i := range items {
		size += items[i].size
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full(len(items), size) {
		q.purge()
	}
	if q.full(len(items), size) {
		q.metrics.overloaded.Add(float64(len(items)))
		return &im.Error{Kind: im.Overloaded, Msg: "too many messages are waiting to be written: try again", RetryAfter: time.Second}
	}
	if !q.running {
		if !q.start(q.run) {
			return errClosed
		}
		q.running = true
	}
	q.items = append(q.items, items...)
	q.records += len(items)
	q.bytes += size
	return nil
}

func (q *queue) full(records, bytes int) bool {
	return q.records > 0 && (q.records+records > maxQueueRecords || q.bytes+bytes > maxQueueBytes)
}

// purge drops what nobody waits for any more; otherwise it would fill the
// queue of a broker that does not answer. It goes through the whole queue, so
// it does so now and then only.
func (q *queue) purge() {
	if time.Since(q.purged) < purgeEvery {
		return
	}
	q.purged = time.Now()
	all := len(q.items)
	for i := range q.items {
		q.bytes -= q.items[i].size
	}
	q.items = waiting(q.items)
	for i := range q.items {
		q.bytes += q.items[i].size
	}
	q.records -= all - len(q.items)
}

// run writes one batch after the other until there is nothing left.
func (q *queue) run() {
	for {
		batch, bytes := q.take()
		if batch == nil {
			return
		}
		n := len(batch)
		q.write(batch)
		q.mu.Lock()
		q.records -= n
		q.bytes -= bytes
		q.mu.Unlock()
	}
}

// take returns the next batch and its size, or nil if there is none; then a
// new run is needed.
func (q *queue) take() (batch []item, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.items) && n < maxBatchRecords {
		if n > 0 && bytes+q.items[n].size > maxBatchBytes {
			break
		}
		bytes += q.items[n].size
		n++
	}
	if n == 0 {
		q.items, q.running = nil, false
		return nil, 0
	}
	batch = q.items[:n:n]
	q.items = q.items[n:]
	return batch, bytes
}

// write writes a batch and does not return before each of its records has its
// result or nobody waits for it. Only then may the next be written: with two
// under way, the first could fail and come after the second when repeated.
func (q *queue) write(batch []item) {
	for attempt := 0; ; attempt++ {
		// Whoever gave up is not written any more, so that a retry ends and
		// what was given up does not turn up much later.
		batch = waiting(batch)
		if len(batch) == 0 {
			return
		}
		err := q.produce(batch)
		switch {
		case err == nil:
			finish(batch, nil)
			return
		case refusedContent(err) && len(batch) > 1:
			q.write(batch[:len(batch)/2])
			q.write(batch[len(batch)/2:])
			return
		case refusedContent(err):
			finish(batch, errContent(err))
			return
		case !retriable(err) || q.ctx.Err() != nil:
			q.log.Error("cannot write", "topic", q.topic, "partition", q.partition, "records", len(batch), "err", err)
			finish(batch, unavailable(err, "the message log refuses to write: try again"))
			return
		}
		if attempt%16 == 0 {
			q.log.Warn("writing again", "topic", q.topic, "partition", q.partition, "records", len(batch), "err", err)
		}
		q.metrics.retries.Inc()
		for i := range batch {
			batch[i].call.note(err)
		}
		q.refresh()
		_ = retry.Sleep(q.ctx, again.Equal(attempt+1))
	}
}

// produce sends one request and returns why it was not acknowledged.
func (q *queue) produce(batch []item) error {
	// A request that is given up may still be read by kafka-go's connection,
	// so each has readers of its own.
	records := make([]kafkago.Record, len(batch))
	for i := range batch {
		r := &batch[i].rec
		records[i] = kafkago.Record{Key: kafkago.NewBytes(r.Key), Value: kafkago.NewBytes(r.Value), Headers: r.Headers}
	}
	ctx, cancel := context.WithTimeout(q.ctx, requestTimeout)
	defer cancel()
	start := time.Now()
	res, err := q.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: q.topic, Partition: q.partition, RequiredAcks: kafkago.RequireAll,
		Records: kafkago.NewRecordReader(records...),
	})
	if err != nil {
		return q.explain(ctx, err)
	}
	if err = res.Error; err == nil {
		q.metrics.seconds.Observe(time.Since(start).Seconds())
		q.metrics.records.Observe(float64(len(batch)))
	}
	return err
}

// refusedContent reports whether a broker refused a batch for what is in it,
// of which a single record may be the cause.
func refusedContent(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge) || errors.Is(err, kafkago.InvalidRecord)
}

func errContent(err error) error {
	if errors.Is(err, kafkago.InvalidRecord) {
		return im.Wrap(im.Invalid, err, "the message log does not take this record")
	}
	return errTooLarge(err)
}

func errTooLarge(err error) error {
	return &im.Error{Kind: im.TooLarge, Msg: "the message is larger than the message log takes", Err: err}
}

// waiting drops from batch what nobody waits for.
func waiting(batch []item) []item {
	kept := batch[:0]
	for _, it := range batch {
		if !it.call.gone.Load() {
			kept = append(kept, it)
		}
	}
	clear(batch[len(kept):])
	return kept
}

func finish(batch []item, err error) {
	for i := range batch {
		batch[i].call.finish(batch[i].index, err)
	}
}
