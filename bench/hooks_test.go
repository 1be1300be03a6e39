package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/webhook"
)

// hookRequest is a webhook as the server sends one.
func hookRequest(t *testing.T, path, secret string, body any) *http.Request {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := webhook.Sign("id", now, b, secret)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(b))
	r.Header.Set(webhook.HeaderID, "id")
	r.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(webhook.HeaderSignature, signature)
	return r
}

func TestWebhooksOfBotsAreChecked(t *testing.T) {
	secret := webhook.NewSecret()
	type tell struct {
		sender  int
		n       int64
		dropped int64
	}
	tests := []struct {
		name     string
		told     []tell
		sent     []int64
		found    string // part of the one violation, or ""
		lacking  int64
		repeated int64
	}{
		{"all, in order", []tell{{0, 0, 0}, {1, 0, 0}, {0, 1, 0}}, []int64{2, 1}, "", 0, 0},
		{"one twice", []tell{{0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {1, 0, 0}}, []int64{2, 1}, "", 0, 1},
		{"the last not", []tell{{0, 0, 0}, {1, 0, 0}}, []int64{2, 1}, "", 1, 0},
		{"one before another", []tell{{0, 1, 0}, {0, 0, 0}, {1, 0, 0}}, []int64{2, 1}, "out of order or lost", 0, 1},
		{"one dropped", []tell{{0, 0, 0}, {1, 0, 1}}, []int64{1, 1}, "were dropped", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &hookRun{found: new(findings)}
			h.become(&hookRun{bots: []*bot{{secret: secret}}, senders: make([]*user, 2)})
			for _, told := range tt.told {
				var d struct {
					Data struct {
						Message im.Message `json:"message"`
						Dropped int64      `json:"dropped"`
					} `json:"data"`
				}
				d.Data.Dropped = told.dropped
				d.Data.Message.ClientID = string(stamp{told.sender, told.n, 0}.appendID(nil, h.run))
				h.ServeHTTP(httptest.NewRecorder(), hookRequest(t, "/0", secret, d))
			}
			checkFound(t, h.found, tt.found)
			if n := h.lacking(tt.sent); n != tt.lacking || h.repeated != tt.repeated || h.broken != nil {
				t.Errorf("%d lack and %d were repeated, want %d and %d; %v", n, h.repeated, tt.lacking, tt.repeated, h.broken)
			}
		})
	}
}

func TestAWebhookOfAnotherSecretIsNotTaken(t *testing.T) {
	h := &hookRun{found: new(findings)}
	h.become(&hookRun{bots: []*bot{{secret: webhook.NewSecret()}}, senders: make([]*user, 1)})
	h.ServeHTTP(httptest.NewRecorder(), hookRequest(t, "/0", webhook.NewSecret(), map[string]any{}))
	if h.broken == nil {
		t.Error("it was taken")
	}
}

func TestNotificationsAreCountedOnce(t *testing.T) {
	secret := webhook.NewSecret()
	a := &away{secret: secret}
	a.expect()
	a.await(awayKey{"ann", "g:team"}, time.Now())
	a.await(awayKey{"bob", "g:team"}, time.Now())
	type one struct {
		User         string          `json:"user"`
		Conversation im.Conversation `json:"conversation"`
	}
	for range 2 {
		a.ServeHTTP(httptest.NewRecorder(), hookRequest(t, "/", secret, map[string]any{"data": map[string]any{"notifications": []one{{"ann", "g:team"}, {"ann", "g:other"}, {"eve", "g:team"}}}}))
	}
	if a.told != 1 || a.again != 1 || a.took.n != 1 || a.broken != nil {
		t.Errorf("%d were told, %d again, %d timed, %v; want one of each", a.told, a.again, a.took.n, a.broken)
	}
}
