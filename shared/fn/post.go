package fn

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

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
// Unavailable, says that there was no answer at all: what became of the events
// is not known. A request that was refused as a whole is no error; each Result
// says so.
func Post(ctx context.Context, c *http.Client, url string, events []event.Event) ([]Result, error) {
	if len(events) == 0 {
		return nil, nil
	}
	body, media := []byte(events[0].Data), event.JSON
	if len(events) > 1 {
		size := 2
		for i := range events {
			size += len(events[i].Data) + 512
		}
		body, media = event.AppendBatch(make([]byte, 0, size), events), event.Batch
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("posting to %s: %w", url, err)
	}
	req.Header.Set("Content-Type", media)
	if len(events) == 1 {
		for name, value := range events[0].Attributes {
			req.Header.Set("Ce-"+name, value)
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, im.Wrap(im.Unavailable, err, "the function does not answer")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, im.Wrap(im.Unavailable, err, "the answer of the function broke off")
	}
	return results(resp, answer, events)
}

// results reads an answer to events.
func results(resp *http.Response, answer []byte, events []event.Event) ([]Result, error) {
	out := make([]Result, len(events))
	if len(events) > 1 && resp.StatusCode == http.StatusOK {
		var got batchAnswer
		if err := jsonv2.Unmarshal(answer, &got); err != nil {
			return nil, im.Wrap(im.Unavailable, err, "the answer of the function cannot be read")
		}
		match(out, events, got.Results)
		return out, nil
	}
	whole := Result{Status: resp.StatusCode}
	switch {
	case resp.StatusCode >= 300:
		var p im.Problem
		if json.Unmarshal(answer, &p) != nil || p.Kind == "" {
			p = im.Problem{Kind: kindOf(resp.StatusCode), Detail: http.StatusText(resp.StatusCode)}
		}
		whole.Error = &p
		if secs, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && secs > 0 {
			whole.RetryAfter = time.Duration(secs) * time.Second
		}
	case len(answer) > 0 && len(events) == 1:
		whole.Data = answer
	}
	for i := range events {
		out[i] = whole
		out[i].ID = events[i].ID
	}
	return out, nil
}

// match puts the results of an answer to their events. The answer is in the
// order of the events, with those that are done left out. Two events of one id
// are one event, so the worse of their results is good for both.
func match(out []Result, events []event.Event, got []Result) {
	next := 0
	for i := range events {
		out[i] = Result{ID: events[i].ID, Status: http.StatusNoContent}
		if next < len(got) && got[next].ID == events[i].ID {
			out[i] = got[next]
			next++
		}
	}
	if next == len(got) {
		return
	}
	byID := make(map[string]Result, len(got)) // not in order: another's server
	for _, r := range got {
		if had, ok := byID[r.ID]; !ok || r.Status > had.Status {
			byID[r.ID] = r
		}
	}
	for i := range events {
		if r, ok := byID[events[i].ID]; ok {
			out[i] = r
		}
	}
}
