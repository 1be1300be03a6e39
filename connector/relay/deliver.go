package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
)

const (
	// Pauses before posting again are drawn from 0 to firstPause, doubled with
	// each failure in a row, maxPause at most ("full jitter").
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second

	// maxRetryAfter is the longest pause that a function can ask for.
	maxRetryAfter = time.Minute

	// drain is how long a request under way may take when the partition is
	// given up or the process stops. If it is done by then it is committed.
	drain = 3 * time.Second
)

// function is where the events of a route go.
type function struct {
	*Relay
	name string
	url  string

	mu    sync.Mutex
	lanes map[laneKey]*lane
}

type laneKey struct {
	topic     string
	partition int
}

// lane is a partition on its way to a function. Only one batch of it is under
// way at a time.
type lane struct {
	*function
	laneKey
	size     int // most events in the next request
	failures int // requests in a row of which nothing was done
}

// job is a record that is neither done nor dead.
type job struct {
	rec      kafka.Record
	ev       event.Event
	attempts int
	failing  time.Time // since when
}

func (f *function) lane(topic string, partition int) *lane {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := laneKey{topic, partition}
	l := f.lanes[k]
	if l == nil {
		l = &lane{function: f, laneKey: k, size: f.events}
		f.lanes[k] = l
	}
	return l
}

// handle delivers records of a partition: when it returns nil each is done or
// among the dead letters.
func (f *function) handle(ctx context.Context, topic string, partition int, records []kafka.Record) error {
	l := f.lane(topic, partition)
	jobs := make([]job, 0, len(records))
	var dead []deadLetter
	for _, rec := range records {
		ev, err := rec.Event()
		if err != nil {
			dead = append(dead, deadLetter{job: job{rec: rec}, reason: err.Error()})
			continue
		}
		jobs = append(jobs, job{rec: rec, ev: ev})
	}
	if err := l.bury(ctx, dead); err != nil {
		return err
	}
	for len(jobs) > 0 {
		n := l.fit(jobs)
		if err := l.settle(ctx, jobs[:n]); err != nil {
			return err
		}
		jobs = jobs[n:]
	}
	return nil
}

// fit returns how many of jobs go into one request: one at least.
func (l *lane) fit(jobs []job) int {
	n, bytes := 0, 0
	for n < len(jobs) && n < l.size {
		if bytes += len(jobs[n].ev.Data); n > 0 && bytes > l.bytes {
			break
		}
		n++
	}
	return n
}

// settle posts jobs until each is done or dead. The error is that of ctx.
//
// When a request fails altogether, those that follow have half as many events,
// down to one: for a refusal, so that only the event that is the cause is
// buried; for no answer, because one event may be what a function dies of, or
// the batch more than it can do in time.
func (l *lane) settle(ctx context.Context, jobs []job) error {
	for len(jobs) > 0 {
		if len(jobs) > l.size {
			return l.settleInTwo(ctx, jobs, l.size)
		}
		out := l.post(ctx, jobs)
		if len(jobs) > 1 && out.refused == len(jobs) {
			return l.settleInTwo(ctx, jobs, len(jobs)/2)
		}
		if err := l.bury(ctx, out.dead); err != nil {
			return err
		}
		if len(out.left) > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(out.left) < len(jobs) {
			l.failures = 0
			l.size = min(l.size+1+l.size/8, l.events)
		} else {
			l.failures++
			l.size = max(1, min(l.size, len(jobs))/2)
		}
		jobs = out.left
		if len(jobs) == 0 {
			break
		}
		l.metrics.retried.WithLabelValues(l.name).Add(float64(len(jobs)))
		d := max(pause(l.failures), min(out.retryAfter, maxRetryAfter))
		l.complain(jobs, out.err, d)
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) settleInTwo(ctx context.Context, jobs []job, n int) error {
	if err := l.settle(ctx, jobs[:n]); err != nil {
		return err
	}
	return l.settle(ctx, jobs[n:])
}

// outcome is what became of the jobs of a request.
type outcome struct {
	left       []job // to be posted again
	dead       []deadLetter
	refused    int // how many of dead the function will never take
	retryAfter time.Duration
	err        error // why the first of left is
}

// post posts jobs and says what became of each.
func (l *lane) post(ctx context.Context, jobs []job) outcome {
	events := make([]event.Event, len(jobs))
	for i := range jobs {
		events[i] = jobs[i].ev
	}
	start := time.Now()
	results, err := l.try(ctx, events)
	l.metrics.seconds.WithLabelValues(l.name).Observe(time.Since(start).Seconds())
	l.metrics.batch.WithLabelValues(l.name).Observe(float64(len(jobs)))

	var out outcome
	for i := range jobs {
		j := &jobs[i]
		j.attempts++
		status, reason, cause := 0, "", err
		if err == nil {
			if cause = results[i].Err(); cause == nil {
				l.metrics.delivered.WithLabelValues(l.name).Inc()
				continue
			}
			status = results[i].Status
			out.retryAfter = max(out.retryAfter, results[i].RetryAfter)
		} else {
			out.retryAfter = retryAfter(err)
		}
		switch {
		case final(status):
			reason = string(im.KindOf(cause)) + ": " + cause.Error()
			out.refused++
		case l.retryFor > 0 && !j.failing.IsZero() && time.Since(j.failing) >= l.retryFor:
			reason = "given up after " + l.retryFor.String() + ": " + cause.Error()
		default:
			if j.failing.IsZero() {
				j.failing = start
			}
			if out.err == nil {
				out.err = cause
			}
			out.left = append(out.left, *j)
			continue
		}
		out.dead = append(out.dead, deadLetter{job: *j, status: status, reason: reason})
	}
	return out
}

// try posts events. When ctx ends the request may go on for a while: what it
// does would only be done again.
func (l *lane) try(ctx context.Context, events []event.Event) ([]fn.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if sleep(req, drain) == nil {
			cancel()
		}
	})
	defer stop()
	return l.poster.Deliver(req, l.name, l.url, events)
}

// final reports whether an event that a function answered with this status can
// never succeed there. These are the two that functions have for it: what else
// there is, is said of the address or of the one who posts.
func final(status int) bool {
	return status == http.StatusUnprocessableEntity || status == http.StatusUnsupportedMediaType
}

// retryAfter returns how long err asks to wait, or 0.
func retryAfter(err error) time.Duration {
	var e *im.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// complain logs that jobs are to be posted again: the first time, and then ever
// more rarely.
func (l *lane) complain(jobs []job, err error, wait time.Duration) {
	if n := jobs[0].attempts; n&(n-1) != 0 {
		return
	}
	l.env.Log.Warn("posting again", "function", l.name, "topic", l.topic, "partition", l.partition,
		"offset", jobs[0].rec.Offset, "event", jobs[0].ev.ID, "events", len(jobs), "attempts", jobs[0].attempts,
		"wait", wait.String(), "err", err)
}

// lag tells the metrics how far a partition is behind.
func (f *function) lag(topic string, partition int, records int64) {
	if records < 0 {
		f.metrics.lag.DeleteLabelValues(f.name, topic, strconv.Itoa(partition))
		return
	}
	f.metrics.lag.WithLabelValues(f.name, topic, strconv.Itoa(partition)).Set(float64(records))
}

func (f *function) isJoined(joined bool) {
	f.Relay.mu.Lock()
	defer f.Relay.mu.Unlock()
	f.joined[f.name] = joined
}

// pause returns how long to wait after a number of failures in a row.
func pause(failures int) time.Duration {
	return rand.N(min(firstPause<<min(max(failures-1, 0), 10), maxPause))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
