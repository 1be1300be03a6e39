package away

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// authBytes is the length of the secret of a subscription (RFC 8291, §3.2).
const authBytes = 16

type subscriptions interface {
	// PutSubscription makes a subscription that of its session, in place of any
	// that it had. A user keeps the newest ones, most of them. Unauthenticated:
	// the session has ended.
	PutSubscription(ctx context.Context, s im.PushSubscription, most int) error
	// HasSubscription reports whether a subscription is that of its session, as
	// it is in every respect.
	HasSubscription(ctx context.Context, s im.PushSubscription) (bool, error)
	// RemoveSubscription removes that of a session; "" is of any endpoint.
	RemoveSubscription(ctx context.Context, session, endpoint string) error
}

type limiter interface {
	// Allow counts one more. Overloaded: there were too many.
	Allow(ctx context.Context, user string) error
}

type subscribeRequest struct {
	Endpoint string `json:"endpoint"`
	P256dh   string `json:"p256dh"`
	Auth     string `json:"auth"`
	ShowText bool   `json:"show_text"`
}

type marker interface {
	// MarkSubscribed has whoever remembers that a user has no subscription forget it.
	MarkSubscribed(ctx context.Context, user string) error
}

type subscriber struct {
	store    subscriptions
	marks    marker
	fresh    time.Duration // for how long a proof is good
	limit    limiter
	checkURL func(string) error // Invalid: nothing can be sent there
	checkKey func([]byte) error // of P-256
	most     int                // subscriptions of a user
	on       bool               // there is Web Push
}

// subscribe has the device of the caller notified by Web Push from now on. It
// may be repeated, and is to be when the browser has another subscription.
func (s *subscriber) subscribe(ctx context.Context, c im.Caller, in subscribeRequest) (nothing, error) {
	if !s.on {
		return nothing{}, noWebPush()
	}
	p256dh, err := decode(in.P256dh)
	if err != nil || s.checkKey(p256dh) != nil {
		return nothing{}, im.Errorf(im.Invalid, `"p256dh" is the public key of the subscription, 65 bytes in base64url: getKey("p256dh")`)
	}
	auth, err := decode(in.Auth)
	if err != nil || len(auth) != authBytes {
		return nothing{}, im.Errorf(im.Invalid, `"auth" is the secret of the subscription, %d bytes in base64url: getKey("auth")`, authBytes)
	}
	if err := s.checkURL(in.Endpoint); err != nil {
		return nothing{}, im.Wrap(im.Invalid, err, `"endpoint" is the URL of the subscription: https://, and open to anybody`)
	}
	if err := s.limit.Allow(ctx, c.User); err != nil {
		return nothing{}, err
	}
	sub := im.PushSubscription{User: c.User, Session: c.Session, Endpoint: in.Endpoint, P256dh: p256dh, Auth: auth, ShowText: in.ShowText}
	if err := s.proved(ctx, c, sub); err != nil {
		return nothing{}, err
	}
	if err := s.store.PutSubscription(ctx, sub, s.most); err != nil {
		return nothing{}, fmt.Errorf("subscribing: %w", err)
	}
	if err := s.marks.MarkSubscribed(ctx, c.User); err != nil { // it is done again when it is called again
		return nothing{}, fmt.Errorf("subscribing: %w", err)
	}
	return nothing{}, nil
}

// proved asks for a proof of who is calling where somebody would read from then
// on what messages say: who has stolen an access token shall not. A browser says
// at each start what it has said before, and is not asked again.
func (s *subscriber) proved(ctx context.Context, c im.Caller, sub im.PushSubscription) error {
	if !sub.ShowText {
		return nil
	}
	had, err := s.store.HasSubscription(ctx, sub)
	if err != nil || had {
		return err
	}
	return c.Fresh(time.Now(), s.fresh)
}

// unsubscribe ends that. It may be repeated.
func unsubscribe(store subscriptions) func(context.Context, im.Caller, nothing) (nothing, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (nothing, error) {
		if err := store.RemoveSubscription(ctx, c.Session, ""); err != nil {
			return nothing{}, fmt.Errorf("unsubscribing: %w", err)
		}
		return nothing{}, nil
	}
}

// decode reads base64 as browsers and their libraries write it: for URLs or
// not, with padding or without.
func decode(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	return base64.RawURLEncoding.DecodeString(s)
}
