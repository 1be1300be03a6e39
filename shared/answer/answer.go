// Package answer tells what a function or gateway of ours has answered over
// HTTP from what a proxy, a sign-in page or another service between may say
// with the same status. Only the former decides anything: what is done is done,
// what is refused is refused. All else is no answer, and says nothing about
// what became of the request.
//
// It does not know what functions do, nor what is in their answers.
package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// The media types of answers.
const (
	JSON        = "application/json"
	ProblemJSON = "application/problem+json" // RFC 9457
)

// maxProblem bounds a problem, in bytes.
const maxProblem = 64 << 10

// Foreign is an answer that nothing of ours has given. What became of the
// request is not known.
type Foreign struct {
	Status int
	Media  string // as the header has it; "" if there was none
	Why    string // it is none of ours
}

func (f *Foreign) Error() string {
	return fmt.Sprintf("status %d (%.60q) is not of a function: %s; look what answers at its address", f.Status, f.Media, f.Why)
}

// An Answer is one of ours.
type Answer struct {
	Status     int           // 200, 204, or what Problem tells of
	Data       []byte        // JSON of a 200, as it came
	Problem    *im.Problem   // of a failure
	RetryAfter time.Duration // 0 is unsaid
}

// Read reads an answer to its end. The error is a [*Foreign] if it is none of
// ours, or says that it broke off, or has more than most bytes.
func Read(resp *http.Response, most int64) (Answer, error) {
	a := Answer{Status: resp.StatusCode, RetryAfter: RetryAfter(resp)}
	if err := head(resp); err != nil {
		return a, err
	}
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return a, nil
	case resp.StatusCode != http.StatusOK:
		body, err := readAll(resp, maxProblem)
		if err == nil {
			a.Problem, err = problem(resp, body)
		}
		return a, err
	}
	body, err := readAll(resp, most)
	switch {
	case err != nil:
		return a, err
	case !json.Valid(body): // nor with anything behind it
		return a, foreign(resp, "its body is not one JSON value")
	}
	a.Data = body
	return a, nil
}

// Check reports whether an answer is one of ours as far as can be told without
// reading the body of a 200, which is left for the caller to read and pass on.
func Check(resp *http.Response) error {
	if err := head(resp); err != nil || resp.StatusCode < 300 {
		return err
	}
	body, err := readAll(resp, maxProblem)
	if err == nil {
		_, err = problem(resp, body)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return err
}

// head judges an answer by its status and media type.
func head(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // what cannot be read is none of ours
	switch status := resp.StatusCode; {
	case status == http.StatusNoContent:
		return nil
	case status == http.StatusOK:
		if media != JSON {
			return foreign(resp, "what is done is answered by 204, or by 200 with "+JSON)
		}
	case status >= 400 && status < 600:
		if media != ProblemJSON {
			return foreign(resp, "a failure is told of by "+ProblemJSON)
		}
	default:
		return foreign(resp, "functions do not answer with this status")
	}
	return nil
}

// problem reads the body of a failure. A later version may have kinds that are
// not known here.
func problem(resp *http.Response, body []byte) (*im.Problem, error) {
	var p im.Problem
	if json.Unmarshal(body, &p) != nil || p.Kind == "" || p.Status != 0 && p.Status != resp.StatusCode {
		return nil, foreign(resp, "its problem has no kind, or is of another status")
	}
	return &p, nil
}

func foreign(resp *http.Response, why string) error {
	return &Foreign{Status: resp.StatusCode, Media: resp.Header.Get("Content-Type"), Why: why}
}

func readAll(resp *http.Response, most int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", err)
	case int64(len(body)) > most:
		return nil, im.Errorf(im.TooLarge, "the answer is longer than %d bytes", most)
	}
	return body, nil
}

// RetryAfter returns how long an answer, of whomever, asks to wait, or 0.
func RetryAfter(resp *http.Response) time.Duration {
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	return 0
}
