package fn

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidings-im/tidings/shared/answer"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// A Poster makes requests of functions and gateways, believes no answer that
// none of ours can have given to such a request, and counts those. It is safe
// for concurrent use.
type Poster struct {
	client     *http.Client
	timeout    time.Duration
	foreign    ForeignAnswers
	neighbours *Neighbourhood // handed events without a request
}

// OpenPoster returns a Poster whose requests may take so long each. It is not for
// being called while something else of the process is opened (proc.Share).
func OpenPoster(env *proc.Env, timeout time.Duration) (*Poster, error) {
	foreign, err := OpenForeignAnswers(env)
	neighbours, joinErr := NeighboursOf(env)
	return &Poster{client: NewHTTPClient(timeout), timeout: timeout, foreign: foreign, neighbours: neighbours}, errors.Join(err, joinErr)
}

// Close closes the connections that are idle.
func (p *Poster) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Deliver posts events that nobody waits for an answer to, as Post does. Done
// is what is answered by 204: a function that is [On] events has nothing to say.
func (p *Poster) Deliver(ctx context.Context, function, url string, events []event.Event) ([]Result, error) {
	return p.post(ctx, function, url, events, func(r *Result) bool { return r.Data == nil },
		"it says something of an event that is answered by 204")
}

// Ask posts events to a function that answers each ([Answer]), as Post does:
// what became of an event that is not answered is not known.
func (p *Poster) Ask(ctx context.Context, function, url string, events []event.Event) ([]Result, error) {
	return p.post(ctx, function, url, events, func(r *Result) bool { return r.Data != nil },
		"it says nothing of an event that has an answer")
}

// post posts events and has those that are done judged.
func (p *Poster) post(ctx context.Context, function, url string, events []event.Event, ours func(*Result) bool, why string) ([]Result, error) {
	results, err := p.send(ctx, function, url, events)
	for i := range results {
		if r := &results[i]; r.Status < 300 && !ours(r) {
			results, err = nil, unanswered(&answer.Foreign{Status: r.Status, Media: answer.JSON, Why: why}, 0)
			break
		}
	}
	p.foreign.Note(function, err)
	return results, err
}

// send hands events to a function of this process, or posts them.
func (p *Poster) send(ctx context.Context, function, url string, events []event.Event) ([]Result, error) {
	if len(events) == 0 {
		return nil, nil
	}
	within, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if results, here, err := p.neighbours.hand(within, function, url, events); here {
		return results, err
	}
	return Post(ctx, p.client, url, events)
}

// Tick calls a function as a clock does.
func (p *Poster) Tick(ctx context.Context, function, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	a, err := do(p.client, req)
	switch {
	case err != nil:
	case a.Problem != nil:
		err = &im.Error{Kind: a.Problem.Kind, Msg: a.Problem.Detail, RetryAfter: a.RetryAfter}
	case a.Status != http.StatusNoContent:
		err = unanswered(&answer.Foreign{Status: a.Status, Media: answer.JSON, Why: "a timed function answers with 204"}, 0)
	}
	p.foreign.Note(function, err)
	return err
}

// ForeignAnswers counts answers that nothing of ours has given, by the function
// that was meant to answer.
type ForeignAnswers struct{ byFunction *prometheus.CounterVec }

// OpenForeignAnswers returns the process's count.
func OpenForeignAnswers(env *proc.Env) (ForeignAnswers, error) {
	return proc.Share(env, "fn.ForeignAnswers", func() (ForeignAnswers, func() error, error) {
		f := ForeignAnswers{prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidings_foreign_answers_total", Help: "Answers that no function or gateway of Tidings can have given, by the function that was asked.",
		}, []string{"function"})}
		env.Metrics.MustRegister(f.byFunction)
		return f, nil, nil
	})
}

// Of returns the count of a function.
func (f ForeignAnswers) Of(function string) prometheus.Counter {
	return f.byFunction.WithLabelValues(function)
}

// Note counts err, if it tells of a foreign answer. The zero ForeignAnswers
// counts nothing.
func (f ForeignAnswers) Note(function string, err error) {
	var foreign *answer.Foreign
	if f.byFunction != nil && errors.As(err, &foreign) {
		f.Of(function).Inc()
	}
}
