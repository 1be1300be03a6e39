package fn

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/tidings-im/tidings/shared/answer"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// maxAnswer bounds the answer to a batch, in bytes.
const maxAnswer = 8 << 20

// NewHTTPClient returns a client for posting events between our own parts:
// HTTP/1.1 with enough idle connections kept to each host, no redirects, no
// proxies.
func NewHTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 64,
			MaxIdleConns:        1024,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Post posts events to a function and returns what became of each, in their
// order. One event goes in binary mode, several as a batch. The error, of kind
// Unavailable, says that there was no answer at all, or one that no function of
// ours can have given ([answer.Foreign]): what became of the events is not
// known. A request that was refused as a whole is no error; each Result says so.
//
// A [Poster] does this with less to be minded.
func Post(ctx context.Context, c *http.Client, url string, events []event.Event) ([]Result, error) {
	if len(events) == 0 {
		return nil, nil
	}
	req, err := request(ctx, url, events)
	if err != nil {
		return nil, fmt.Errorf("posting to %s: %w", url, err)
	}
	a, err := do(c, req)
	if err != nil {
		return nil, err
	}
	out, err := results(a, events)
	return out, unanswered(err, 0)
}

// request returns the request that posts events.
func request(ctx context.Context, url string, events []event.Event) (*http.Request, error) {
	if len(events) == 1 {
		return NewRequest(ctx, url, &events[0])
	}
	size := 2
	for i := range events {
		size += len(events[i].Data) + 512
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event.AppendBatch(make([]byte, 0, size), events)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", event.Batch)
	return req, nil
}

// NewRequest returns the request that posts an event in binary mode, as the SDK's
// binding for HTTP has it.
func NewRequest(ctx context.Context, url string, e *event.Event) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return nil, err
	}
	return req, cehttp.WriteRequest(ctx, e.Message(), req)
}

// do makes a request of a function and reads its answer.
func do(c *http.Client, req *http.Request) (answer.Answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return answer.Answer{}, unanswered(err, 0)
	}
	defer resp.Body.Close()
	a, err := answer.Read(resp, maxAnswer)
	return a, unanswered(err, a.RetryAfter)
}

// unanswered returns the error for a request of which err says why it has no
// answer, or nil.
func unanswered(err error, retryAfter time.Duration) error {
	if err == nil {
		return nil
	}
	return &im.Error{Kind: im.Unavailable, Msg: "the function does not answer", Err: err, RetryAfter: retryAfter}
}

// results reads an answer to events.
func results(a answer.Answer, events []event.Event) ([]Result, error) {
	out := make([]Result, len(events))
	if len(events) > 1 && a.Status == http.StatusOK {
		var got batchAnswer
		if err := jsonv2.Unmarshal(a.Data, &got, jsonv1.FormatDurationAsNano(true)); err != nil || got.Results == nil {
			return nil, misread(a, "a batch is answered by the results of its events")
		}
		for i := range got.Results {
			if !got.Results[i].plausible() {
				return nil, misread(a, "it lists an event with a status that is none, or without what failed")
			}
		}
		if !match(out, events, got.Results) {
			return nil, misread(a, "it lists events that were not sent")
		}
		return out, nil
	}
	for i := range events {
		out[i] = Result{ID: events[i].ID, Status: a.Status, Data: a.Data, Error: a.Problem, RetryAfter: a.RetryAfter}
	}
	return out, nil
}

// misread returns the error for an answer whose head is as ours have it, and
// whose body is not.
func misread(a answer.Answer, why string) error {
	return &answer.Foreign{Status: a.Status, Media: answer.JSON, Why: why}
}

// plausible reports whether a function can have said r of an event.
func (r *Result) plausible() bool {
	switch {
	case r.Status == http.StatusOK, r.Status == http.StatusNoContent:
		return r.Error == nil
	case r.Status >= 400 && r.Status < 600:
		return r.Error != nil && r.Error.Kind != ""
	}
	return false
}

// match puts the results of an answer to their events, and reports whether
// there is an event for each. The answer is in the order of the events, with
// those that are done left out. Two events of one id are one event, so the
// worse of their results is good for both.
func match(out []Result, events []event.Event, got []Result) bool {
	next := 0
	for i := range events {
		out[i] = Result{ID: events[i].ID, Status: http.StatusNoContent}
		if next < len(got) && got[next].ID == events[i].ID {
			out[i] = got[next]
			next++
		}
	}
	if next == len(got) {
		return true
	}
	sent := make(map[string]int, len(events)) // not in order: another's server
	for i := range events {
		sent[events[i].ID]++
	}
	byID := make(map[string]Result, len(got))
	for _, r := range got {
		if sent[r.ID]--; sent[r.ID] < 0 {
			return false
		}
		if had, ok := byID[r.ID]; !ok || r.Status > had.Status {
			byID[r.ID] = r
		}
	}
	for i := range events {
		if r, ok := byID[events[i].ID]; ok {
			out[i] = r
		}
	}
	return true
}
