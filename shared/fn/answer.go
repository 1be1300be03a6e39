package fn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// A Result is what became of one event of a batch. In the answer to a batch
// the events that are done and have nothing to say are left out.
type Result struct {
	ID     string          `json:"id"`
	Status int             `json:"status"`
	Data   json.RawMessage `json:"data,omitempty"`
	Error  *im.Problem     `json:"error,omitempty"`

	// RetryAfter is how long to wait before sending it again; 0 is unsaid.
	RetryAfter time.Duration `json:"retry_after_ns,omitempty"`
}

// Err returns the failure that r tells of as an error with its kind, or nil.
func (r Result) Err() error {
	if r.Status < 300 {
		return nil
	}
	e := &im.Error{Kind: kindOf(r.Status), Msg: http.StatusText(r.Status), RetryAfter: r.RetryAfter}
	if r.Error != nil {
		if r.Error.Kind != "" {
			e.Kind = r.Error.Kind
		}
		e.MaxAge = time.Duration(r.Error.MaxAge) * time.Second
		e.Msg = r.Error.Detail
	}
	return e
}

type batchAnswer struct {
	Results []Result `json:"results"`
}

// An outcome is what is written to who sent a request.
type outcome struct {
	status int
	body   []byte // JSON; none if there is nothing to say
	err    error  // why the request is refused as a whole
}

// write writes a to somebody who may read slowly, or be gone.
func (a outcome) write(w http.ResponseWriter) {
	// What took long leaves as much time as what did not.
	http.NewResponseController(w).SetWriteDeadline(paced(time.Now(), 0)) // only what is no network connection has none
	switch {
	case a.err != nil:
		WriteProblem(w, a.status, a.err)
	case a.body == nil:
		w.WriteHeader(a.status)
	default:
		h := w.Header()
		h.Set("Content-Type", event.JSON)
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		WritePaced(w, a.body) // a caller that is gone reads no answer
	}
}

// answer answers a request of one event.
func (s *server) answer(r *http.Request, rep reply) outcome {
	err := classify(rep.err)
	if err != nil {
		return s.refusal(r, s.statusOf(err), err)
	}
	if rep.value == nil {
		s.count(http.StatusOK, nil)
		return outcome{status: http.StatusNoContent}
	}
	body, err := im.JSON(rep.value)
	if err != nil {
		return s.refusal(r, http.StatusInternalServerError, err)
	}
	s.count(http.StatusOK, nil)
	return outcome{status: http.StatusOK, body: append(body, '\n')}
}

// answerBatch answers a request of a batch: 204 if all is done and there is
// nothing to say, else 200 with what there is.
func (s *server) answerBatch(r *http.Request, events []event.Event, replies []reply) outcome {
	var out batchAnswer
	var logged error // of many that failed alike, one line is enough
	for i, rep := range replies {
		res := s.result(r.Context(), events[i].ID, rep, &logged)
		if res.Error != nil || rep.value != nil {
			out.Results = append(out.Results, res)
		}
	}
	if out.Results == nil {
		return outcome{status: http.StatusNoContent}
	}
	body, err := im.JSON(out)
	if err != nil {
		return s.refusal(r, http.StatusInternalServerError, err)
	}
	return outcome{status: http.StatusOK, body: body}
}

// refusal answers a request that failed as a whole.
func (s *server) refusal(r *http.Request, status int, err error) outcome {
	s.count(status, err)
	s.log(r.Context(), r.Header.Get("Ce-Id"), status, err)
	return outcome{status: status, err: err}
}

func (s *server) log(ctx context.Context, id string, status int, err error) {
	log := s.env.Log.DebugContext // the caller's own fault
	if status >= 500 && !ordinary(err) {
		log = s.env.Log.WarnContext
	}
	log(ctx, "failed", "function", s.Name, "event", id, "status", status, "err", err)
}

func ordinary(err error) bool {
	var e *im.Error
	return errors.As(err, &e) && e.Ordinary
}

// count counts an event that was answered with a status, for err or nil.
func (s *server) count(status int, err error) {
	s.metrics.events.WithLabelValues(s.Name, strconv.Itoa(status)).Inc()
	if status != http.StatusServiceUnavailable {
		return
	}
	if d := im.DependencyOf(err); d != "" {
		s.metrics.unavailable.WithLabelValues(s.Name, d).Inc()
	}
}

// WriteProblem answers with an error as RFC 9457 has it.
func WriteProblem(w http.ResponseWriter, status int, err error) {
	p := im.ProblemOf(err)
	p.Status = status
	if d := retryAfter(err); d > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge(p))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	body, _ := im.JSON(p)       // strings and numbers can always be written
	w.Write(append(body, '\n')) // a caller that is gone reads no answer
}

// challenge returns how a caller is to authenticate (RFC 6750, §3), and of one
// who has to prove again who they are how lately (RFC 9470, §3).
func challenge(p im.Problem) string {
	if p.Kind != im.Reauthenticate {
		return "Bearer"
	}
	return fmt.Sprintf(`Bearer error="insufficient_user_authentication", error_description="a more recent proof of who is calling is needed", max_age="%d"`, p.MaxAge)
}

func retryAfter(err error) time.Duration {
	var e *im.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
