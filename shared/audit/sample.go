package audit

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	window     = time.Minute
	perSource  = 60   // records of one event, of one user and address, in a window
	refused    = 10   // likewise, of one that is a refusal
	perProcess = 1200 // refusals in a window, all together
	sources    = 4096 // that are told apart
)

// A sampler leaves records out that somebody causes to flood the log.
type sampler struct {
	mu      sync.Mutex
	sources *lru.Cache[source, *counted]
	all     counted
}

type source struct {
	event         Event
	user, address string
}

// counted is what was recorded since a window began, and what was not.
type counted struct {
	since      time.Time
	recorded   int
	suppressed int
}

func newSampler() *sampler {
	cache, _ := lru.New[source, *counted](sources) // fails only for a size below 1
	return &sampler{sources: cache}
}

// allow reports whether a record, a refusal or not, is to be written, and how
// many like it were not since the last one that was.
func (s *sampler) allow(rec Record, refusal bool, now time.Time) (ok bool, suppressed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := source{rec.Event, rec.User, rec.Address}
	c, known := s.sources.Get(of)
	if !known {
		c = &counted{since: now}
		s.sources.Add(of, c)
	}
	c.begin(now)
	s.all.begin(now)
	most := perSource
	if refusal {
		most = refused
	}
	if c.recorded >= most || refusal && s.all.recorded >= perProcess {
		c.suppressed++
		return false, 0
	}
	suppressed, c.suppressed = c.suppressed, 0
	c.recorded++
	if refusal {
		s.all.recorded++
	}
	return true, suppressed
}

func (c *counted) begin(now time.Time) {
	if now.Sub(c.since) >= window {
		c.since, c.recorded = now, 0
	}
}
