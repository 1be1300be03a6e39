package relay

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	// maxRetryAfter is the longest pause that a function can ask for.
	maxRetryAfter = time.Minute

	// drain is how long a request under way may take when the partition is
	// given up or the process stops. If it is done by then it is committed.
	drain = 3 * time.Second
)

// pauses are those before posting again.
var pauses = retry.Backoff{First: 100 * time.Millisecond, Limit: 5 * time.Second}

// function is where the events of a route go.
type function struct {
	*Relay
	name string
	url  string
}

// worker brings the records of a partition to a function. Only one request of
// it is under way at a time.
type worker struct {
	*function
	partition *kafka.Partition
	backlog   *backlog
	size      int   // most events in the next request
	failures  int   // requests in a row of which nothing was done
	end       int64 // of the partition, as of the latest fetch
	next      int64 // before which all is over; -1 is not known
	room      room
}

func newWorker(f *function, p *kafka.Partition) *worker {
	return &worker{
		function: f, partition: p, backlog: newBacklog(f.events), size: f.events, next: -1,
		room: room{all: &f.held, most: int64(f.window), freed: make(chan struct{}, 1)},
	}
}

// work works on a partition until ctx is done, or something panics.
func (f *function) work(ctx context.Context, p *kafka.Partition) error {
	w := newWorker(f, p)
	defer func() {
		w.room.free(w.room.held.Load())
		f.lag(p.Topic, p.ID, -1)
	}()
	fetched := make(chan kafka.Fetched, maxFetches)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return proc.Protect(func() error { return w.fetch(ctx, fetched) })
	})
	g.Go(func() error {
		return proc.Protect(func() error {
			for {
				if err := w.turn(ctx, fetched); err != nil {
					return err
				}
			}
		})
	})
	return g.Wait()
}

// fetch hands over what is in a partition, as long as there is room for it. The
// error is that of ctx.
func (w *worker) fetch(ctx context.Context, to chan<- kafka.Fetched) error {
	for {
		if err := w.room.wait(ctx); err != nil {
			return err
		}
		got, err := w.partition.Fetch(ctx)
		if err != nil {
			return err
		}
		for i := range got.Records {
			w.room.take(int64(sizeOf(&got.Records[i])))
		}
		select {
		case to <- got:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// turn takes in what was fetched and makes one request, or waits until there is
// one to be made. The error is that of ctx.
func (w *worker) turn(ctx context.Context, fetched <-chan kafka.Fetched) error {
	for {
		select {
		case got := <-fetched:
			if err := w.receive(ctx, got); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	if jobs := w.backlog.take(w.size, w.bytes, time.Now()); len(jobs) > 0 {
		return w.request(ctx, jobs)
	}
	var due <-chan time.Time
	if at, ok := w.backlog.next(); ok {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		due = t.C
	}
	select {
	case got := <-fetched:
		return w.receive(ctx, got)
	case <-due:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// receive takes in what was fetched. What is no event is dead.
func (w *worker) receive(ctx context.Context, got kafka.Fetched) error {
	jobs := make([]*job, len(got.Records))
	var dead []deadLetter
	for i, rec := range got.Records {
		ev, err := rec.Event()
		jobs[i] = &job{rec: rec, ev: ev}
		if err != nil {
			dead = append(dead, deadLetter{job: jobs[i], reason: err.Error()})
		}
	}
	if err := w.bury(ctx, dead); err != nil {
		return err
	}
	w.end = got.End
	switch {
	case w.next >= 0:
	case len(jobs) > 0:
		w.next = got.Records[0].Offset
	default:
		w.next = got.Next
	}
	if len(jobs) > 0 || got.Moved {
		w.backlog.add(jobs, got.Next)
	}
	w.advance()
	return nil
}

// request posts jobs, once, and has them settled.
//
// When a request fails altogether, those that follow have half as many events,
// down to one: one event may be what a function dies of, or the batch more than
// it can do in time.
func (w *worker) request(ctx context.Context, jobs []*job) error {
	out, err := w.ask(ctx, jobs)
	if err != nil {
		return err
	}
	stuck := w.backlog.settle(jobs, time.Now())
	w.advance()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wait time.Duration
	if len(out.left) < len(jobs) {
		w.failures = 0
		w.size = min(w.size+1+w.size/8, w.events)
	} else {
		w.failures++
		w.size = max(1, min(w.size, len(jobs))/2)
		wait = pauses.Full(w.failures)
	}
	if len(out.left) == 0 {
		return nil
	}
	wait = max(wait, min(out.retryAfter, maxRetryAfter))
	if stuck != nil { // else it goes on
		w.metrics.retried.WithLabelValues(w.name).Add(float64(len(out.left)))
		w.complain(stuck, len(out.left), out.err, wait)
	}
	return retry.Sleep(ctx, wait)
}

// ask posts jobs and buries what the function will never take. When it refuses
// a request altogether, for which a single event may be the cause, the halves
// of it are posted; the second not before all of the first is over. The error
// is that of ctx.
func (w *worker) ask(ctx context.Context, jobs []*job) (outcome, error) {
	out := w.post(ctx, jobs)
	if n := len(jobs) / 2; n > 0 && out.refused == len(jobs) {
		first, err := w.ask(ctx, jobs[:n])
		if err != nil || len(first.left) > 0 {
			first.left = append(first.left, jobs[n:]...)
			return first, err
		}
		return w.ask(ctx, jobs[n:])
	}
	return out, w.bury(ctx, out.dead)
}

// over notes that a job is done or dead, and lets go of what it held.
func (w *worker) over(j *job) {
	w.room.free(int64(j.size()))
	j.over = true
	j.rec.Key, j.rec.Value, j.rec.Headers, j.ev = nil, nil, nil, event.Event{}
}

// advance has committed what is over.
func (w *worker) advance() {
	if next, moved := w.backlog.advance(); moved {
		w.next = next
		w.partition.Done(next)
	}
	w.room.span.Store(int64(w.backlog.span))
	w.lag(w.partition.Topic, w.partition.ID, max(0, w.end-w.next))
}

// outcome is what became of the jobs of a request.
type outcome struct {
	left       []*job // to be posted again
	dead       []deadLetter
	refused    int // how many of dead the function will never take
	retryAfter time.Duration
	err        error // why the first of left is
}

// post posts jobs and says what became of each.
func (w *worker) post(ctx context.Context, jobs []*job) outcome {
	events := make([]event.Event, len(jobs))
	for i := range jobs {
		events[i] = jobs[i].ev
	}
	start := time.Now()
	results, err := w.try(ctx, events)
	w.metrics.seconds.WithLabelValues(w.name).Observe(time.Since(start).Seconds())
	w.metrics.batch.WithLabelValues(w.name).Observe(float64(len(jobs)))

	var out outcome
	for i, j := range jobs {
		j.attempts++
		status, reason, cause := 0, "", err
		if err == nil {
			if cause = results[i].Err(); cause == nil {
				w.metrics.delivered.WithLabelValues(w.name).Inc()
				w.over(j)
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
		case w.retryFor > 0 && !j.failing.IsZero() && time.Since(j.failing) >= w.retryFor:
			reason = "given up after " + w.retryFor.String() + ": " + cause.Error()
		default:
			if j.failing.IsZero() {
				j.failing = start
			}
			if out.err == nil {
				out.err = cause
			}
			out.left = append(out.left, j)
			continue
		}
		out.dead = append(out.dead, deadLetter{job: j, status: status, reason: reason})
	}
	return out
}

// try posts events. When ctx ends the request may go on for a while: what it
// does would only be done again.
func (w *worker) try(ctx context.Context, events []event.Event) ([]fn.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if retry.Sleep(req, drain) == nil {
			cancel()
		}
	})
	defer stop()
	return w.poster.Deliver(req, w.name, w.url, events)
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

// complain logs that events are to be posted again, the first of which is j:
// the first time, and then ever more rarely.
func (w *worker) complain(j *job, events int, err error, wait time.Duration) {
	if n := j.attempts; n&(n-1) != 0 {
		return
	}
	w.env.Log.Warn("posting again", "function", w.name, "topic", j.rec.Topic, "partition", j.rec.Partition,
		"offset", j.rec.Offset, "event", j.ev.ID, "events", events, "attempts", j.attempts,
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
