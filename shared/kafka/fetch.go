package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/tidings-im/tidings/shared/retry"
)

// fetchWait is how long a broker may hold a fetch of which nothing has come yet.
const fetchWait = time.Second

// reader reads a partition, one fetch at a time.
type reader struct {
	*cluster
	topic     string
	partition int
	maxBytes  int
	next      int64 // offset of what is read next; FirstOffset until that is known
	end       int64 // offset after the last record, as of the latest fetch
}

// read returns the records of one fetch, which may be none. It tries again
// whatever goes wrong; the error is that of ctx.
//
// If the offset it is to read is not there, it goes on from the first record
// there is: what retention has deleted is lost, but never does a topic that was
// made anew, or has lost its end, have something passed over.
func (r *reader) read(ctx context.Context) ([]Record, error) {
	for attempt := 0; ; attempt++ {
		records, err := r.try(ctx)
		if err == nil {
			return records, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		log := r.log.Debug
		if attempt == 1 {
			log = r.log.Warn
		}
		log("reading again", "topic", r.topic, "partition", r.partition, "offset", r.next, "err", err)
		r.refresh()
		if retry.Sleep(ctx, again.Equal(attempt+1)) != nil {
			return nil, ctx.Err()
		}
	}
}

func (r *reader) try(ctx context.Context) ([]Record, error) {
	if r.next < 0 {
		if err := r.rewind(ctx); err != nil {
			return nil, err
		}
	}
	got, err := r.fetches.get(ctx, fetchKey{partitionKey{r.topic, r.partition}, r.next, r.maxBytes}, func(ctx context.Context) (batch, error) {
		return r.cluster.fetch(ctx, r.topic, r.partition, r.next, r.maxBytes)
	})
	switch {
	case err != nil:
		return nil, err
	case got.outside:
		return nil, r.rewind(ctx)
	}
	r.next, r.end = got.next, got.end
	return got.records, nil
}

// fetch makes one request for what a partition has from an offset on.
func (c *cluster) fetch(ctx context.Context, topic string, partition int, offset int64, maxBytes int) (batch, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+requestTimeout)
	defer cancel()
	res, err := c.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset,
		MinBytes: 1, MaxBytes: int64(maxBytes), MaxWait: fetchWait,
	})
	switch {
	case err != nil:
		return batch{}, c.explain(ctx, err)
	case errors.Is(res.Error, kafkago.OffsetOutOfRange):
		return batch{outside: true}, nil
	case res.Error != nil:
		return batch{}, res.Error
	}
	records, next, err := recordsFrom(res.Records, offset)
	if err != nil {
		return batch{}, fmt.Errorf("reading what was fetched: %w", err)
	}
	for i := range records {
		records[i].Topic, records[i].Partition, records[i].read = topic, partition, new(parsed)
	}
	return batch{records: records, next: next, end: res.HighWatermark}, nil
}

// rewind makes the first record there is the next.
func (r *reader) rewind(ctx context.Context) error {
	first, end, err := r.offsets(ctx, r.topic, r.partition)
	if err != nil {
		return err
	}
	if r.next >= 0 && r.next != first {
		r.log.Error("the offset is not there: reading from the first record there is",
			"topic", r.topic, "partition", r.partition, "offset", r.next, "first", first, "end", end)
	}
	r.next, r.end = first, end
	return nil
}

// recordsFrom returns the records of a fetch that are not before offset, and
// the offset after them. A broker sends whole batches, the first of which may
// begin earlier; batches that only mark transactions, or that are empty, hold
// nothing for us but take up offsets.
func recordsFrom(from kafkago.RecordReader, offset int64) (records []Record, next int64, err error) {
	batches := []protocol.RecordReader{from}
	if s, ok := from.(*protocol.RecordStream); ok {
		batches = s.Records
	}
	next = offset
	for _, batch := range batches {
		_, control := batch.(*protocol.ControlBatch)
		empty := true
		for {
			in, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, offset, err
			}
			empty = false
			out, err := copyRecord(in)
			if err != nil {
				return nil, offset, err
			}
			if in.Offset < next {
				continue
			}
			next = in.Offset + 1
			if !control {
				records = append(records, out)
			}
		}
		if b, ok := batch.(*protocol.RecordBatch); ok && empty && b.BaseOffset <= next {
			next++ // there is nothing at next; more of the same is passed one by one
		}
	}
	return records, next, nil
}

// copyRecord copies in out of the buffers of kafka-go and gives those back.
func copyRecord(in *kafkago.Record) (Record, error) {
	key, err := readBytes(in.Key)
	if err != nil {
		return Record{}, err
	}
	value, err := readBytes(in.Value)
	if err != nil {
		return Record{}, err
	}
	return Record{Offset: in.Offset, Time: in.Time, Key: key, Value: value, Headers: slices.Clone(in.Headers)}, nil
}

func readBytes(b kafkago.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close()
	return kafkago.ReadAll(b)
}
