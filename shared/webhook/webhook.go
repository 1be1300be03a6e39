// Package webhook tells others' HTTP endpoints what happened, signed as
// Standard Webhooks says (https://www.standardwebhooks.com, version 1), and
// holds the client that does so: it goes to public addresses only, wherever a
// name leads, follows no redirect, uses no proxy and reads little.
//
// It does not know what is told, nor when to try again.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
)

// The headers of a delivery.
const (
	HeaderID        = "webhook-id"        // the same for each attempt
	HeaderTimestamp = "webhook-timestamp" // of the attempt, in seconds
	HeaderSignature = "webhook-signature" // one for each secret
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32

	// MaxURL is how long the URL of an endpoint may be, in bytes.
	MaxURL = 500

	maxRead       = 4 << 10 // bytes of an answer that are read, so that its connection can be used again
	maxRetryAfter = 24 * time.Hour
)

// NewSecret returns a secret to sign with.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// Sign returns the signatures of a delivery, one for each secret, as
// HeaderSignature has them. A secret is base64 of the key, after whsec_ or
// alone; which of them cannot be read is an error.
func Sign(id string, at time.Time, body []byte, secrets ...string) (string, error) {
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, secretPrefix))
		if err != nil || len(key) == 0 {
			return "", errors.New("the secret of a webhook is not base64") // never the secret
		}
		h := hmac.New(sha256.New, key)
		fmt.Fprintf(h, "%s.%d.", id, at.Unix())
		h.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	return strings.Join(signatures, " "), nil
}

// A Sender sends deliveries. It is safe for concurrent use.
type Sender struct {
	client  *http.Client
	private bool
}

// Open returns the process's sender.
func Open(env *proc.Env) (*Sender, error) {
	env.Uses(proc.Outside)
	return proc.Share(env, "webhook", func() (*Sender, func() error, error) {
		set := env.Settings()
		private, timeout := set.Bool(settingPrivate), set.Duration(settingTimeout)
		if err := set.Err(); err != nil {
			return nil, nil, err
		}
		s := NewSender(timeout, private)
		return s, func() error { s.client.CloseIdleConnections(); return nil }, nil
	})
}

// NewSender returns a sender with a client of its own. See NewClient.
func NewSender(timeout time.Duration, private bool) *Sender {
	return &Sender{client: NewClient(timeout, private), private: private}
}

// A Rule says to which URLs anything may be sent.
type Rule struct{ private bool }

// OpenRule returns the process's rule, for who takes URLs and sends nothing.
func OpenRule(env *proc.Env) (Rule, error) {
	set := env.Settings()
	private := set.Bool(settingPrivate)
	return Rule{private}, set.Err()
}

// CheckURL reports why nothing could be sent to a URL: as Invalid.
func (r Rule) CheckURL(raw string) error { return CheckURL(raw, r.private) }

// CheckURL reports why nothing could be sent to a URL: as Invalid.
func (s *Sender) CheckURL(raw string) error { return CheckURL(raw, s.private) }

// CheckURL reports why nothing could be sent to a URL: as Invalid. With
// private, it may be of plain HTTP and on an address that is not public.
func CheckURL(raw string, private bool) error {
	if len(raw) > MaxURL {
		return im.Errorf(im.Invalid, "a URL is %d bytes at most", MaxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return im.Errorf(im.Invalid, "that is not a URL")
	case u.Scheme != "https" && (u.Scheme != "http" || !private):
		return im.Errorf(im.Invalid, "the URL begins with https://")
	case u.User != nil:
		return im.Errorf(im.Invalid, "the URL holds a name or a password: deliveries are signed instead")
	case u.Fragment != "":
		return im.Errorf(im.Invalid, "the URL has a fragment, which is never sent")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return im.Errorf(im.Invalid, "the port of the URL is none")
		}
	}
	if private {
		return nil
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(host); err == nil && !Public(addr) || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return im.Errorf(im.Invalid, "the URL is of an address that is not public")
	}
	return nil
}

// Send sends body, which is JSON, to a URL. id is the same each time that it
// is sent, at is the time of this attempt. While a secret is being replaced it
// is signed with others, too. The error is a *Failure.
func (s *Sender) Send(ctx context.Context, to, secret, id string, at time.Time, body []byte, others ...string) error {
	signature, err := Sign(id, at, body, append([]string{secret}, others...)...)
	if err != nil {
		return &Failure{Reason: reasonUnsent, err: err}
	}
	if err := s.CheckURL(to); err != nil {
		return &Failure{Reason: reasonUnsent, err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return &Failure{Reason: reasonUnsent, err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Tidings-Webhook/1")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(HeaderSignature, signature)
	resp, err := s.client.Do(req)
	if err != nil {
		return failure(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxRead) // what is said does not matter: the status does
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	reason := fmt.Sprintf("it answered %d", resp.StatusCode)
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		reason += ": redirects are not followed"
	}
	return &Failure{Status: resp.StatusCode, RetryAfter: RetryAfter(resp.Header.Get("Retry-After"), at), Reason: reason}
}

// A Failure is why a delivery did not arrive, or may not have.
type Failure struct {
	Status     int           // what the endpoint answered; 0 if it did not
	RetryAfter time.Duration // how long it wants to be left alone; 0 is unsaid
	Reason     string        // in words that its owner may read, of a few that there are
	err        error
}

func (f *Failure) Error() string {
	if f.err == nil {
		return "sending to a webhook: " + f.Reason
	}
	return "sending to a webhook: " + f.err.Error()
}

func (f *Failure) Unwrap() error { return f.err }

// Gone reports whether the endpoint said that it wants no more.
func (f *Failure) Gone() bool { return f.Status == http.StatusGone }

// The reasons, beside what an endpoint answered. None tells what a name leads to
// in this network: one that is not known and one of an address that is not
// public could both not be reached.
const (
	reasonUnsent      = "it could not be sent"
	reasonUnreachable = "it could not be reached"
	reasonCutOff      = "the attempt was cut off"
	reasonTimeout     = "it did not answer in time"
	reasonTLS         = "its certificate or its TLS is not good"
)

// failure says why there was no answer.
func failure(err error) *Failure {
	f := &Failure{Reason: reasonUnreachable, err: err}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, ErrPrivate):
	case errors.Is(err, context.Canceled):
		f.Reason = reasonCutOff
	case errors.As(err, &timeout) && timeout.Timeout():
		f.Reason = reasonTimeout
	case isTLS(err):
		f.Reason = reasonTLS
	}
	return f
}

// RetryAfter reads a Retry-After header, in either form of RFC 9110.
func RetryAfter(v string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
