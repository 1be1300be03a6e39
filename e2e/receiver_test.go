package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest"
)

// A receiver is an endpoint on this machine that keeps what is posted to it.
type receiver struct {
	t *testing.T
	*httptest.Server

	mu  sync.Mutex
	got []posted
}

type posted struct {
	http.Header
	path string
	body []byte
}

// receive starts one. What answers may be nil; it is called after the request
// was kept.
func receive(t *testing.T, answers func(posted)) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		p := posted{req.Header, req.URL.Path, b}
		r.mu.Lock()
		r.got = append(r.got, p)
		r.mu.Unlock()
		if answers != nil {
			answers(p)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]posted(nil), r.got...)
}

// gets waits for a request that is as wanted.
func (r *receiver) gets(what string, wanted func(posted) bool) (found posted) {
	r.t.Helper()
	imtest.Eventually(r.t, what, func() error {
		all := r.all()
		for _, found = range all {
			if wanted(found) {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(all))
	})
	return found
}

// signedBy reports whether a request is signed by a secret, as Standard
// Webhooks says.
func (p posted) signedBy(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", p.Get("webhook-id"), p.Get("webhook-timestamp"), p.body)
	return strings.Contains(p.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// A robot is a bot that is signed in.
type robot struct {
	visitor
	token   string
	tokenID string
}

// makes makes a bot of somebody's, for scopes, and signs it in.
func (v visitor) makes(account string, scopes ...string) (r robot) {
	v.t.Helper()
	var made struct {
		Bot     struct{ ID string }
		Token   string
		TokenID string `json:"token_id"`
	}
	if err := json.Unmarshal([]byte(v.must("POST", "/v1/bots", request{"account": account, "name": account, "scopes": scopes})), &made); err != nil {
		v.t.Fatal(err)
	}
	r = robot{visitor{door: v.door}, made.Token, made.TokenID}
	if err := json.Unmarshal([]byte(r.must("POST", "/v1/sessions/bot", request{"token": made.Token})), &r.account); err != nil {
		v.t.Fatal(err)
	}
	r.ID, r.Account = made.Bot.ID, account
	return r
}
