package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/answer"
	"github.com/tidings-im/tidings/shared/im"
)

// maxAnswer is the most bytes read of an answer: a page of the largest messages.
const maxAnswer = 16 << 20

// An API makes single calls to the HTTP API of a gateway. It is safe for
// concurrent use and tries nothing twice. Its errors are *im.Error: errors.Is
// tells their kind, such as im.NotFound; what no server answered is
// im.Unavailable.
type API struct {
	URL  string       // of the gateway, such as https://im.example.org
	HTTP *http.Client // nil is http.DefaultClient
}

// Tokens are what signing in gives: who is signed in, and the proof.
type Tokens struct {
	User             im.User `json:"user"`
	Session          string  `json:"session"`
	AccessToken      string  `json:"access_token"`
	ExpiresAt        im.Time `json:"expires_at"` // of the access token, by the server's clock
	RefreshToken     string  `json:"refresh_token"`
	RefreshExpiresAt im.Time `json:"refresh_expires_at"`
	DeviceProof      string  `json:"device_proof"` // of signing in: show it when the device signs in again

	life time.Duration // of the access token when it was received; 0 is not known
}

// An InboxPage is part of an inbox, in order of seq.
type InboxPage struct {
	Entries []im.Entry `json:"entries"`
	Head    int64      `json:"head"` // greatest seq in the inbox
	More    bool       `json:"more"` // there are entries after the last
}

// A HistoryPage is part of a conversation, in its order. Next and Prev are what
// to give as After and Before to get what follows and what precedes; empty if
// there is nothing.
type HistoryPage struct {
	Messages []im.Message `json:"messages"`
	Next     string       `json:"next"`
	Prev     string       `json:"prev"`
}

// A HistoryRange says which part of a conversation is wanted: what follows
// After, or what precedes Before, or with neither the newest.
type HistoryRange struct {
	After, Before string
	Limit         int // 0 leaves it to the server
}

// Register makes an account. An empty name is the account's.
func (a *API) Register(ctx context.Context, account, name, password string) (im.User, error) {
	in := struct {
		Account  string `json:"account"`
		Name     string `json:"name,omitempty"`
		Password string `json:"password"`
	}{account, name, password}
	var u im.User
	_, err := a.call(ctx, "POST", "/v1/users", "", in, &u)
	return u, err
}

// Credentials are what a device signs in with.
type Credentials struct {
	Account     string `json:"account"`
	Password    string `json:"password"`
	Code        string `json:"code,omitempty"` // of the second factor
	Device      string `json:"device"`         // a name that is chosen once and kept
	Platform    string `json:"platform"`
	DeviceProof string `json:"device_proof,omitempty"` // that the device was given when it signed in before, if it did
}

// SignIn starts a session for a device. Of a user with a second factor the error
// is im.SecondFactor if there is no code.
func (a *API) SignIn(ctx context.Context, c Credentials) (Tokens, error) {
	return a.tokens(ctx, "/v1/sessions", c)
}

// Login starts a session for a device. The device's name is chosen once and kept.
// Of a user with a second factor the error is im.SecondFactor: see LoginWithCode.
func (a *API) Login(ctx context.Context, account, password, device, platform string) (Tokens, error) {
	return a.LoginWithCode(ctx, account, password, "", device, platform)
}

// LoginWithCode is Login with a code of the second factor: of an authenticator,
// or for recovery. Each is good once.
func (a *API) LoginWithCode(ctx context.Context, account, password, code, device, platform string) (Tokens, error) {
	return a.SignIn(ctx, Credentials{Account: account, Password: password, Code: code, Device: device, Platform: platform})
}

// Refresh gives new tokens for a refresh token, which is spent by it: using it
// again ends the session, so the new one must be kept first.
func (a *API) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	return a.tokens(ctx, "/v1/sessions/refresh", map[string]string{"refresh_token": refreshToken})
}

func (a *API) tokens(ctx context.Context, path string, in any) (Tokens, error) {
	var t Tokens
	h, err := a.call(ctx, "POST", path, "", in, &t)
	if err != nil {
		return Tokens{}, err
	}
	if t.AccessToken == "" {
		return Tokens{}, im.Errorf(im.Internal, "the server answered without an access token")
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil { // this machine's clock may be wrong
		t.life = t.ExpiresAt.Std().Sub(date)
	}
	return t, nil
}

// Logout ends the session of an access token, and its connections.
func (a *API) Logout(ctx context.Context, accessToken string) error {
	_, err := a.call(ctx, "DELETE", "/v1/sessions/current", accessToken, nil, nil)
	return err
}

// FindUser returns the user with an account, or an error of kind im.NotFound.
func (a *API) FindUser(ctx context.Context, accessToken, account string) (im.User, error) {
	var out struct {
		Users []im.User `json:"users"`
	}
	if _, err := a.call(ctx, "GET", "/v1/users?account="+url.QueryEscape(account), accessToken, nil, &out); err != nil {
		return im.User{}, err
	}
	if len(out.Users) == 0 {
		return im.User{}, im.Errorf(im.NotFound, "nobody has the account %.40q", account)
	}
	return out.Users[0], nil
}

// CreateGroup makes a group of the caller and members, given by their ids.
func (a *API) CreateGroup(ctx context.Context, accessToken, name string, members []string) (im.GroupInfo, error) {
	in := struct {
		Name    string   `json:"name"`
		Members []string `json:"members"`
	}{name, members}
	var g im.GroupInfo
	_, err := a.call(ctx, "POST", "/v1/groups", accessToken, in, &g)
	return g, err
}

// Inbox returns entries of the caller's inbox with a seq greater than after.
// limit 0 leaves the number to the server.
func (a *API) Inbox(ctx context.Context, accessToken string, after int64, limit int) (InboxPage, error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var p InboxPage
	_, err := a.call(ctx, "GET", "/v1/inbox?"+q.Encode(), accessToken, nil, &p)
	return p, err
}

// History returns part of a conversation that the caller takes part in.
func (a *API) History(ctx context.Context, accessToken string, c im.Conversation, r HistoryRange) (HistoryPage, error) {
	q := url.Values{}
	if r.After != "" {
		q.Set("after", r.After)
	}
	if r.Before != "" {
		q.Set("before", r.Before)
	}
	if r.Limit > 0 {
		q.Set("limit", strconv.Itoa(r.Limit))
	}
	path := "/v1/conversations/" + url.PathEscape(string(c)) + "/messages"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	var p HistoryPage
	_, err := a.call(ctx, "GET", path, accessToken, nil, &p)
	return p, err
}

// Call makes any call of the contract (openapi.yaml): the path with its query,
// as url.PathEscape and url.Values write them; in is sent and out filled in as
// JSON, unless nil. accessToken is "" for what needs none.
func (a *API) Call(ctx context.Context, method, path, accessToken string, in, out any) error {
	_, err := a.call(ctx, method, path, accessToken, in, out)
	return err
}

type keyOfContext struct{}

// WithIdempotencyKey returns a context whose calls have a key of their own: a
// call that is made again under its key, because its answer was lost, has one
// effect and gets the first one's answer. It is for one call, and what repeats
// it: im.NewID makes a key.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOfContext{}, key)
}

func (a *API) call(ctx context.Context, method, path, accessToken string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := im.JSON(in)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.URL, "/")+path, body)
	if err != nil {
		return nil, im.Wrap(im.Invalid, err, "the URL of the server is not one")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	if key, _ := ctx.Value(keyOfContext{}).(string); key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	hc := a.HTTP
	if hc == nil {
		hc = http.DefaultClient
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, im.Wrap(im.Unavailable, err, "the server does not answer")
	}
	defer resp.Body.Close()
	got, err := answer.Read(resp, maxAnswer)
	var foreign *answer.Foreign
	switch {
	case errors.As(err, &foreign):
		// Nothing is known of what was asked: a proxy's 401 has ended no session.
		kind := im.Unavailable
		if resp.StatusCode == http.StatusTooManyRequests {
			kind = im.Overloaded
		}
		return nil, &im.Error{Kind: kind, Msg: "the server does not answer, but something before it does", Err: err, RetryAfter: got.RetryAfter}
	case errors.Is(err, im.TooLarge):
		return nil, err
	case err != nil:
		return nil, im.Wrap(im.Unavailable, err, "the server's answer broke off")
	case got.Problem != nil:
		return nil, failure(got)
	}
	if out != nil {
		if err := json.Unmarshal(got.Data, out); err != nil {
			return nil, im.Wrap(im.Internal, err, "the server's answer to %s %s is not of the form expected", method, req.URL.Path)
		}
	}
	return resp.Header, nil
}

// failure returns the error that an answer tells of.
func failure(a answer.Answer) error {
	return &im.Error{Kind: a.Problem.Kind, Msg: a.Problem.Detail, RetryAfter: a.RetryAfter}
}

// kindOf returns the kind of a status that came without a Problem: of a store of
// files, or of what is at an address that is not a server's.
func kindOf(status int) im.Kind {
	switch status {
	case http.StatusUnauthorized:
		return im.Unauthenticated
	case http.StatusForbidden:
		return im.Denied
	case http.StatusNotFound:
		return im.NotFound
	case http.StatusConflict:
		return im.Conflict
	case http.StatusRequestEntityTooLarge:
		return im.TooLarge
	case http.StatusUnsupportedMediaType:
		return im.Unsupported
	case http.StatusTooManyRequests:
		return im.Overloaded
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return im.Unavailable
	}
	if status >= 500 {
		return im.Internal
	}
	return im.Invalid
}

// retryAfter returns how long err asks to wait before trying again, or 0.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*im.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
