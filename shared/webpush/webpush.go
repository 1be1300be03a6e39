// Package webpush sends notifications to browsers, and to whatever else takes
// Web Push: encrypted for the device alone (RFC 8291), posted to its push
// service (RFC 8030) by a server that says who it is (VAPID, RFC 8292). The
// protocols are those of webpush-go.
//
// It does not know what a notification says, nor when to try again.
package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/webhook"
)

var (
	settingPublic  = proc.Setting{Name: "VAPID_PUBLIC_KEY", Secret: true, Doc: "public key by which browsers subscribe to Web Push, that of VAPID_PRIVATE_KEY; `migrate keys` makes both. Unset, there is no Web Push"}
	settingPrivate = proc.Setting{Name: "VAPID_PRIVATE_KEY", Secret: true, Doc: "key that proves to push services who sends, a P-256 scalar in base64url; with another one every browser has to subscribe anew. Unset, there is no Web Push"}
	settingContact = proc.Setting{Name: "VAPID_CONTACT", Default: "https://tidings.example/", Doc: "whom the operators of push services may turn to: an address of yours, mailto:… or https://…; the default is a placeholder, which they may refuse"}
)

const (
	maxPayload = 3993 // bytes: what a record of 4096 has room for
	maxRead    = 4 << 10
)

// GenerateKey makes a private key, in base64url as the setting takes it.
func GenerateKey() (private string, err error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("making a VAPID key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(key.Bytes()), nil
}

// PublicKey returns the public key of a private one.
func PublicKey(private string) (string, error) {
	b, err := decode(private)
	if err != nil {
		return "", errors.New("the VAPID key is not base64url") // never the key
	}
	key, err := ecdh.P256().NewPrivateKey(b)
	if err != nil {
		return "", errors.New("the VAPID key is not one of P-256")
	}
	return base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()), nil
}

// OpenPublicKey returns the key that browsers subscribe by; "" if there is none.
func OpenPublicKey(env *proc.Env) (string, error) {
	set := env.Settings()
	public := set.String(settingPublic)
	if err := set.Err(); err != nil || public == "" {
		return "", err
	}
	if b, err := decode(public); err != nil || CheckP256dh(b) != nil {
		return "", fmt.Errorf("setting %s: is not a point of P-256 in base64url", settingPublic.Name)
	}
	return strings.TrimRight(public, "="), nil
}

// CheckP256dh reports why b is not the public key of a subscription.
func CheckP256dh(b []byte) error {
	_, err := ecdh.P256().NewPublicKey(b)
	return err
}

// A Sender sends to push services. It is safe for concurrent use.
type Sender struct {
	client          *http.Client
	public, private string
	contact         string
}

// Open returns a sender, or nil if no keys are set. It goes where
// webhook.OpenClient may.
func Open(env *proc.Env) (*Sender, error) {
	set := env.Settings()
	private, contact := set.String(settingPrivate), set.String(settingContact)
	public, err := OpenPublicKey(env)
	if err := errors.Join(set.Err(), err); err != nil || private == "" {
		return nil, err
	}
	own, err := PublicKey(private)
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", settingPrivate.Name, err)
	}
	if public != "" && public != own {
		return nil, fmt.Errorf("setting %s: is not the public key of %s", settingPublic.Name, settingPrivate.Name)
	}
	if !strings.HasPrefix(contact, "mailto:") && !strings.HasPrefix(contact, "https://") {
		return nil, fmt.Errorf("setting %s: is neither mailto:… nor https://…", settingContact.Name)
	}
	client, err := webhook.OpenClient(env)
	if err != nil {
		return nil, err
	}
	return &Sender{client, own, private, strings.TrimPrefix(contact, "mailto:")}, nil
}

// A Failure is why a push service did not take a notification, or may not have.
type Failure struct {
	Status     int           // what it answered; 0 if it did not
	RetryAfter time.Duration // how long it wants to be left alone; 0 is unsaid
	err        error
}

func (f *Failure) Error() string {
	if f.err != nil {
		return "sending to a push service: " + f.err.Error()
	}
	return fmt.Sprintf("sending to a push service: it answered %d", f.Status)
}

func (f *Failure) Unwrap() error { return f.err }

// Gone reports whether the subscription is no more (RFC 8030, §7.3).
func (f *Failure) Gone() bool {
	return f.Status == http.StatusGone || f.Status == http.StatusNotFound
}

// Send sends a payload of at most 3993 bytes. What a push service still holds
// under the same topic for the device is replaced by it, and what it cannot
// deliver within ttl it drops. The error is a *Failure.
func (s *Sender) Send(ctx context.Context, to im.PushSubscription, topic string, ttl time.Duration, payload []byte) error {
	if len(payload) > maxPayload {
		return &Failure{err: fmt.Errorf("a payload of %d bytes", len(payload))}
	}
	// Hashed with what only the device and we know, so that no push service sees
	// which devices are told of the same thing.
	hash := sha256.Sum256(append(slices.Clone(to.Auth), topic...))
	resp, err := webpush.SendNotificationWithContext(ctx, payload, &webpush.Subscription{
		Endpoint: to.Endpoint,
		Keys:     webpush.Keys{P256dh: base64.RawURLEncoding.EncodeToString(to.P256dh), Auth: base64.RawURLEncoding.EncodeToString(to.Auth)},
	}, &webpush.Options{
		HTTPClient:      s.client,
		Subscriber:      s.contact,
		Topic:           base64.RawURLEncoding.EncodeToString(hash[:24]), // 32 characters at most (RFC 8030, §5.4)
		TTL:             max(0, int(ttl/time.Second)),
		Urgency:         webpush.UrgencyHigh,
		VAPIDPublicKey:  s.public,
		VAPIDPrivateKey: s.private,
	})
	var ofURL *url.Error
	if errors.As(err, &ofURL) { // it quotes the endpoint, which is a secret of the device
		err = ofURL.Err
	}
	if err != nil {
		return &Failure{err: err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxRead) // so that its connection can be used again
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	return &Failure{Status: resp.StatusCode, RetryAfter: webhook.RetryAfter(resp.Header.Get("Retry-After"), time.Now())}
}

// decode reads base64url, with or without padding.
func decode(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}
