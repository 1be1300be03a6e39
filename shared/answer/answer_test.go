package answer

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

const refusal = `{"kind":"invalid","title":"Invalid request","detail":"no","status":422}`

func TestP1OnlyWhatAFunctionOfOursCanHaveSaidIsAnAnswer(t *testing.T) {
	const html, js, prob = "text/html; charset=utf-8", "application/json", "application/problem+json"
	for _, tt := range []struct {
		name   string
		status int
		media  string
		body   string
		ours   bool
	}{
		{"done", 204, "", ``, true},
		{"done, with something to say", 200, js, `{"a":1}`, true},
		{"in a charset", 200, "application/json; charset=utf-8", `{"a":1}` + "\n", true},
		{"refused", 422, prob, refusal, true},
		{"refused by a version without status in the body", 422, prob, `{"kind":"invalid"}`, true},
		{"of a kind that is not known yet", 409, prob, `{"kind":"too-late","status":409}`, true},

		{"a proxy's page", 200, html, `<html>welcome</html>`, false},
		{"nothing", 200, "", ``, false},
		{"nothing, as JSON", 200, js, ``, false},
		{"a health check", 200, "text/plain; charset=utf-8", `ok`, false},
		{"a page that says it is JSON", 200, js, `<html>`, false},
		{"JSON with a page behind it", 200, js, `{"a":1}<html>`, false},
		{"two values", 200, js, `{}{}`, false},
		{"JSON cut short", 200, js, `{"a":`, false},
		{"a problem that says it is well", 200, prob, refusal, false},
		{"other media of JSON", 200, "application/cloudevents+json", `{}`, false},
		{"created", 201, js, `{}`, false},
		{"queued", 202, "", ``, false},
		{"queued, as JSON", 202, js, `{"status":"queued"}`, false},
		{"reset", 205, "", ``, false},
		{"a part", 206, js, `{}`, false},
		{"a redirect to sign in", 302, html, ``, false},
		{"kept", 304, "", ``, false},
		{"a redirect that keeps the method", 308, "", ``, false},
		{"a proxy's 400", 400, html, `<html>`, false},
		{"a proxy's 403", 403, html, `<html>`, false},
		{"a proxy's 404", 404, "text/plain", `404 page not found`, false},
		{"a proxy's 405", 405, "", ``, false},
		{"a proxy's 413", 413, html, `<html>`, false},
		{"a proxy's 415", 415, html, `<html>`, false},
		{"another's 422", 422, js, `{"detail":[{"msg":"field required"}]}`, false},
		{"our words in another media type", 422, js, refusal, false},
		{"another's problem", 422, prob, `{"type":"about:blank","title":"Unprocessable","status":422}`, false},
		{"a problem of another status", 403, prob, refusal, false},
		{"a problem with a page behind it", 422, prob, refusal + `<html>`, false},
		{"a proxy's 502", 502, html, `<html>`, false},
		{"a platform's 503", 503, "text/plain", `no healthy upstream`, false},
		{"a status beyond all", 999, prob, `{"kind":"internal","status":999}`, false},
	} {
		for check, judge := range map[string]func(*http.Response) error{
			"Read":  func(r *http.Response) error { _, err := Read(r, 100); return err },
			"Check": Check,
		} {
			resp := response(tt.status, tt.media, tt.body)
			err := judge(resp)
			var f *Foreign
			isForeign := errors.As(err, &f)
			if err != nil && !isForeign {
				t.Errorf("%s: %s: %v", check, tt.name, err)
			}
			if check == "Check" && tt.status == 200 && strings.HasPrefix(tt.media, js) {
				continue // its body is not read
			}
			if isForeign == tt.ours {
				t.Errorf("%s: %s: %v", check, tt.name, err)
			}
			if isForeign && f.Status != tt.status {
				t.Errorf("%s: %s: the error tells of status %d", check, tt.name, f.Status)
			}
		}
	}
}

func response(status int, media, body string) *http.Response {
	w := httptest.NewRecorder()
	if media != "" {
		w.Header().Set("Content-Type", media)
	}
	resp := w.Result()
	if media != "" {
		resp.Header.Set("Content-Type", media)
	}
	resp.StatusCode = status
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp
}

func TestAProblemCanStillBeReadAfterItWasChecked(t *testing.T) {
	resp := response(422, ProblemJSON, refusal)
	if err := Check(resp); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); string(b) != refusal || err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

func TestP7AnAnswerIsReadNoFurtherThanItsBound(t *testing.T) {
	if _, err := Read(response(200, JSON, `"`+strings.Repeat("x", 99)+`"`), 100); !errors.Is(err, im.TooLarge) {
		t.Errorf("Read = %v", err)
	}
	for name, f := range map[string]func(*http.Response) error{
		"Read": func(r *http.Response) error { _, err := Read(r, 1<<30); return err }, "Check": Check,
	} {
		endless := response(500, ProblemJSON, "")
		endless.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"kind":"internal","detail":"`), spaces{}))
		if err := f(endless); err == nil {
			t.Errorf("%s takes an endless problem", name)
		}
	}
}

type spaces struct{}

func (spaces) Read(b []byte) (int, error) { return copy(b, " "), nil }
