package relay

import (
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/kafka"
)

// maxSpan is how many records a partition may be ahead of the first that is
// neither done nor dead. They come again after a crash.
const maxSpan = 10_000

// job is a record on its way to a function.
type job struct {
	rec      kafka.Record
	ev       event.Event
	attempts int
	failing  time.Time // since when
	over     bool      // done, or dead
	of       *stream
}

// size returns about how many bytes j holds.
func (j *job) size() int { return sizeOf(&j.rec) }

func sizeOf(r *kafka.Record) int { return len(r.Key) + len(r.Value) + 512 }

// A backlog is what was fetched of a partition and is not over. The records of
// a key stay in their order. Keys take turns: a key that has much does not hold
// up the others.
type backlog struct {
	streams map[string]*stream
	turns   []*stream // those with records that can be taken, the next first
	fetches []fetch   // in their order, from the first that is not over
	span    int       // records in fetches
	most    int       // records of a stream in a request
}

// A stream is the records of a key that are not over.
type stream struct {
	key      string
	jobs     []*job
	taken    int       // how many of jobs are in the request under way
	share    int       // how many of jobs are in a request at most: what the function was last seen to do
	done     int       // how many were over after the last request
	failures int       // requests in a row that failed at it, and did nothing of it
	until    time.Time // nothing is taken before
}

type fetch struct {
	jobs []*job
	next int64
}

func newBacklog(most int) *backlog {
	return &backlog{streams: make(map[string]*stream), most: most}
}

// add adds the records of a fetch; those that are over already only count as
// such. next is the offset after them.
func (b *backlog) add(jobs []*job, next int64) {
	b.fetches = append(b.fetches, fetch{jobs, next})
	b.span += len(jobs)
	for _, j := range jobs {
		if j.over {
			continue
		}
		key := string(j.rec.Key)
		s := b.streams[key]
		if s == nil {
			s = &stream{key: key, share: b.most}
			b.streams[key] = s
			b.turns = append(b.turns, s)
		}
		j.of = s
		s.jobs = append(s.jobs, j)
	}
}

// take returns what goes into the next request: one record of each key in
// turn, until there are so many, or so many bytes of data, or no more. Nothing
// else is taken until settle.
func (b *backlog) take(events, bytes int, now time.Time) []*job {
	var jobs []*job
	var paused []*stream
	size := 0
	for len(b.turns) > 0 && len(jobs) < events {
		s := b.turns[0]
		if s.until.After(now) {
			paused = append(paused, s)
			b.turns = b.turns[1:]
			continue
		}
		j := s.jobs[s.taken]
		if size += len(j.ev.Data); len(jobs) > 0 && size > bytes {
			break
		}
		jobs = append(jobs, j)
		s.taken++
		b.turns = b.turns[1:]
		if s.taken < min(len(s.jobs), s.share) {
			b.turns = append(b.turns, s)
		}
	}
	b.turns = append(paused, b.turns...)
	return jobs
}

// settle takes back the jobs of a request, of which those that are not over
// come again. A key of which something was done goes behind the others, and one
// that the function did not come to goes before them. That at which it failed
// without having done any of it pauses: what always fails there holds up its
// own key only. settle returns the first job that failed of such a key, or nil.
func (b *backlog) settle(jobs []*job, now time.Time) (stuck *job) {
	var asked, first, last []*stream
	var failed *job
	for _, j := range jobs {
		if failed == nil && !j.over {
			failed = j
		}
		if j.of.taken > 0 {
			asked = append(asked, j.of)
			j.of.settle(b.most)
		}
	}
	b.turns = slices.DeleteFunc(b.turns, func(s *stream) bool { return slices.Contains(asked, s) })
	for _, s := range asked {
		switch {
		case len(s.jobs) == 0:
			delete(b.streams, s.key)
		case s.done > 0:
			last = append(last, s)
		case s == failed.of:
			stuck = failed
			s.failures++
			s.until = now.Add(pauses.Full(s.failures))
			last = append(last, s)
		default:
			first = append(first, s)
		}
	}
	b.turns = slices.Concat(first, b.turns, last)
	return stuck
}

// settle drops what is over. When the function has done what a request had of s
// up to some record, and nothing from there on, the next has no more than that.
func (s *stream) settle(most int) {
	left := slices.DeleteFunc(slices.Clone(s.jobs[:s.taken]), func(j *job) bool { return j.over })
	s.done = s.taken - len(left)
	switch {
	case len(left) == 0:
		s.share = min(s.share+1+s.share/8, most)
	case s.done > 0 && !s.jobs[s.done].over:
		s.share = s.done
	}
	if s.done > 0 {
		s.failures, s.until = 0, time.Time{}
	}
	s.jobs = append(left, s.jobs[s.taken:]...)
	s.taken = 0
}

// next returns when something can be taken, if there is anything.
func (b *backlog) next() (at time.Time, ok bool) {
	for _, s := range b.turns {
		if !ok || s.until.Before(at) {
			at, ok = s.until, true
		}
	}
	return at, ok
}

// advance returns the offset before which all is over. It forgets what is.
func (b *backlog) advance() (next int64, moved bool) {
	for len(b.fetches) > 0 {
		f := &b.fetches[0]
		for len(f.jobs) > 0 && f.jobs[0].over {
			next, moved = f.jobs[0].rec.Offset+1, true
			f.jobs = f.jobs[1:]
			b.span--
		}
		if len(f.jobs) > 0 {
			break
		}
		next, moved = f.next, true
		b.fetches = b.fetches[1:]
	}
	return next, moved
}
