package relay

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/retry"
)

// The headers that a dead letter has beside those of the record that it was.
// Its key and value are the record's own.
const (
	deadPrefix    = "dead-letter-"
	deadReason    = deadPrefix + "reason"
	deadStatus    = deadPrefix + "status" // of HTTP; absent if there was no answer, or no request
	deadFunction  = deadPrefix + "function"
	deadTopic     = deadPrefix + "topic"
	deadPartition = deadPrefix + "partition"
	deadOffset    = deadPrefix + "offset"
	deadTime      = deadPrefix + "time"
	deadAttempts  = deadPrefix + "attempts"
)

// deadLetterTimeout is how long writing dead letters may take before it is
// tried anew.
const deadLetterTimeout = 10 * time.Second

// deadLetter is a record that could not be delivered.
type deadLetter struct {
	*job
	status int // of HTTP; 0 if there was no answer, or no request
	reason string
}

// record returns what is written to the dead letters.
func (d *deadLetter) record(function string) kafka.Record {
	headers := slices.DeleteFunc(slices.Clone(d.rec.Headers), func(h kafka.Header) bool {
		return strings.HasPrefix(h.Key, deadPrefix)
	})
	add := func(name, value string) {
		headers = append(headers, kafka.Header{Key: name, Value: []byte(value)})
	}
	add(deadReason, d.reason)
	if d.status != 0 {
		add(deadStatus, strconv.Itoa(d.status))
	}
	add(deadFunction, function)
	add(deadTopic, d.rec.Topic)
	add(deadPartition, strconv.Itoa(d.rec.Partition))
	add(deadOffset, strconv.FormatInt(d.rec.Offset, 10))
	add(deadTime, im.Now().String())
	add(deadAttempts, strconv.Itoa(d.attempts))
	return kafka.Record{Key: d.rec.Key, Value: d.rec.Value, Headers: headers}
}

// bury writes dead letters and does not return before all are acknowledged:
// until then the partition waits. The error is that of ctx.
func (w *worker) bury(ctx context.Context, dead []deadLetter) error {
	if len(dead) == 0 {
		return nil
	}
	records := make([]kafka.Record, len(dead))
	for i := range dead {
		records[i] = dead[i].record(w.name)
		w.env.Log.Error("dead letter", "function", w.name, "event", dead[i].ev.ID, "topic", dead[i].rec.Topic,
			"partition", dead[i].rec.Partition, "offset", dead[i].rec.Offset, "status", dead[i].status, "err", dead[i].reason)
	}
	n := len(records)
	for failures := 1; ; failures++ {
		try, cancel := context.WithTimeout(ctx, deadLetterTimeout)
		errs := w.producer.Write(try, w.deadLetters, records)
		cancel()
		left := records[:0]
		var err error
		for i := range errs {
			if errs[i] != nil {
				left, err = append(left, records[i]), errs[i]
			}
		}
		if records = left; len(records) == 0 {
			w.metrics.dead.WithLabelValues(w.name).Add(float64(n))
			for i := range dead {
				w.over(dead[i].job)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.env.Log.Error("cannot write dead letters: the partition waits", "function", w.name, "topic", w.partition.Topic,
			"partition", w.partition.ID, "records", len(records), "err", err)
		if err := retry.Sleep(ctx, pauses.Full(failures)); err != nil {
			return err
		}
	}
}
