package fn

import (
	"context"
	"net/http"
	"time"
)

// tick runs a timed function. What the request says is not read; that its
// sender goes away does not stop the function. One request waits while it runs:
// the run may have looked already at what that request is about. It runs for
// all that come while it waits.
func (s *server) tick(w http.ResponseWriter, r *http.Request) {
	if !s.next.TryLock() {
		s.count(http.StatusOK, nil)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.ticking.Lock()
	s.next.Unlock()
	defer s.ticking.Unlock()
	start := time.Now()
	defer func() { s.observer.Observe(time.Since(start).Seconds()) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.timeout)
	defer cancel()
	if err := classify(s.job(ctx)); err != nil {
		s.refusal(r, s.statusOf(err), err).write(w)
		return
	}
	s.count(http.StatusOK, nil)
	outcome{status: http.StatusNoContent}.write(w)
}

// job runs a timed function and makes an error of a panic.
func (s *server) job(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(ctx, p)
		}
	}()
	return s.timed(ctx)
}
