package fn

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Neighbourhood is the functions that are mounted in a process, and the parts
// of it that post events to functions: those they find here are handed the events
// without a request. It is safe for concurrent use.
//
// Only functions that take events are here; who calls one as a user does, goes
// through HTTP, as its token does.
type Neighbourhood struct {
	mu   sync.RWMutex
	name map[string]*server
	url  map[string]*server
}

// NeighboursOf returns the process's neighbourhood.
func NeighboursOf(env *proc.Env) (*Neighbourhood, error) { return joined(env, nil) }

// Join has what is built from env find the functions of a neighbourhood, and be
// found in it, where parts of one process have an Env each. It is to be called
// before anything is built.
func Join(env *proc.Env, n *Neighbourhood) error {
	_, err := joined(env, n)
	return err
}

func joined(env *proc.Env, n *Neighbourhood) (*Neighbourhood, error) {
	return proc.Share(env, "fn.Neighbourhood", func() (*Neighbourhood, func() error, error) {
		if n == nil {
			n = NewNeighbourhood()
		}
		return n, nil, nil
	})
}

// NewNeighbourhood returns one in which nobody is.
func NewNeighbourhood() *Neighbourhood {
	return &Neighbourhood{name: make(map[string]*server), url: make(map[string]*server)}
}

// add adds a function that was mounted.
func (n *Neighbourhood) add(s *server) {
	if s.verify != nil || s.gate != nil || s.timed != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name[s.Name] = s
}

// Serves says that the function of a name is what answers at url, and at no other:
// it is not a function that others know by its name.
func (n *Neighbourhood) Serves(url, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.name[name]; s != nil {
		delete(n.name, name)
		n.url[url] = s
	}
}

// find returns the function of a name, or what answers at url; nil if neither is
// in this process.
func (n *Neighbourhood) find(name, url string) *server {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if s := n.url[url]; s != nil {
		return s
	}
	return n.name[name]
}

// direct hands events to a function of this process, as a request would that
// posts them, and returns what became of each: within the same time, in one of
// the same slots, with the same metrics and traces.
func (s *server) direct(ctx context.Context, events []event.Event) []Result {
	start := time.Now()
	defer func() { s.observer.Observe(time.Since(start).Seconds()) }()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out := make([]Result, len(events))
	refuse := func(status int, err error) []Result {
		s.count(status, err)
		s.log(ctx, events[0].ID, status, err)
		p := im.ProblemOf(err)
		for i := range out {
			out[i] = Result{ID: events[i].ID, Status: status, Error: &p, RetryAfter: retryAfter(err)}
		}
		return out
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return refuse(http.StatusTooManyRequests, errNoSlot)
	}
	var lent lent
	defer lent.end()
	if s.Memory > 0 {
		if err := s.lend(ctx, im.Caller{}, len(events), &lent); err != nil {
			return refuse(s.statusOf(err), err)
		}
	}
	// The events are the caller's, who may post them again: what is traced gets
	// another parent.
	own := make([]event.Event, len(events))
	copy(own, events)
	replies := s.run(ctx, nil, im.Caller{}, nil, own)
	var said error // of many that failed alike, one line is enough
	for i, rep := range replies {
		out[i] = s.result(ctx, own[i].ID, rep, &said)
		if out[i].Status == http.StatusOK && rep.value == nil {
			out[i].Status = http.StatusNoContent
		}
	}
	return out
}

// result returns what became of an event and counts it. said is the error that
// was logged last.
func (s *server) result(ctx context.Context, id string, rep reply, said *error) Result {
	res := Result{ID: id, Status: http.StatusOK}
	err := classify(rep.err)
	if err == nil && rep.value != nil {
		res.Data, err = im.JSON(rep.value)
	}
	if err != nil {
		res.Status = s.statusOf(err)
		if *said == nil || (*said).Error() != err.Error() {
			s.log(ctx, id, res.Status, err)
			*said = err
		}
		p := im.ProblemOf(err)
		res.Error = &p
		res.RetryAfter = retryAfter(err)
	}
	s.count(res.Status, err)
	return res
}

var errNoSlot = &im.Error{Kind: im.Overloaded, Msg: "too many requests at once: come again", RetryAfter: time.Second}

// hand hands events to a function of this process, if it is in it.
func (n *Neighbourhood) hand(ctx context.Context, function, url string, events []event.Event) (results []Result, here bool, err error) {
	s := n.find(function, url)
	if s == nil {
		return nil, false, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, true, unanswered(err, 0)
	}
	results = s.direct(ctx, events)
	if cause := ctx.Err(); cause != nil && !errors.Is(cause, context.Canceled) {
		return nil, true, unanswered(cause, 0) // as a request ends that takes longer than the caller waits
	}
	return results, true, nil
}
