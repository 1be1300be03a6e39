package away

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/webhook"
	"github.com/tidings-im/tidings/shared/webpush"
)

type pusher interface {
	// Send sends a payload by Web Push. The error is a *webpush.Failure.
	Send(ctx context.Context, to im.PushSubscription, topic string, ttl time.Duration, payload []byte) error
}

// ways are how devices are reached: those that have subscribed by Web Push, the
// others by the webhook, and none by both.
type ways struct {
	web     pusher // nil if there is no Web Push
	timeout time.Duration
	post    func(ctx context.Context, id string, at time.Time, body []byte) error // to the webhook; nil if there is none
	host    string                                                                // of the webhook
}

// subscribed reports whether n goes by Web Push.
func (w *ways) subscribed(n *note) bool { return w.web != nil && n.Push != nil }

// reach reports whether n goes any way.
func (w *ways) reach(n *note) bool { return w.subscribed(n) || w.post != nil }

// A problem is why something was not sent.
type problem struct {
	gone       bool          // there is nobody there any more
	never      bool          // it would be refused again
	unanswered bool          // there is nothing that works there, for anybody
	after      time.Duration // for which it wants to be left alone; 0 is unsaid
}

// push sends a notification to a device that has subscribed. What it may still
// hold for the device of the same conversation is replaced by it.
func (w *ways) push(ctx context.Context, n *note) error {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	return w.web.Send(ctx, *n.Push, string(n.Conversation), time.Until(n.Expires.Std()), n.payload)
}

// hooked is a notification as the webhook gets it.
type hooked struct {
	ID           string          `json:"id"` // the same each time that it is sent
	User         string          `json:"user"`
	Session      string          `json:"session"`
	Device       string          `json:"device"`
	Platform     string          `json:"platform"`
	Conversation im.Conversation `json:"conversation"`
	Count        int             `json:"count"`
	Since        im.Time         `json:"since"`   // of the first message that it is for
	Expires      im.Time         `json:"expires"` // it is of no use later
}

// hook hands notifications to the webhook.
func (w *ways) hook(ctx context.Context, notes []*note) error {
	var body struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      struct {
			Notifications []hooked `json:"notifications"`
		} `json:"data"`
	}
	now := time.Now().UTC()
	body.Type, body.Timestamp = "devices.away", now
	ids := sha256.New()
	for _, n := range notes {
		since, _ := im.TimeOfMessageID(n.Message)
		h := hooked{
			ID: n.Session + "-" + n.Message, User: n.User, Session: n.Session, Device: n.Device, Platform: n.Platform,
			Conversation: n.Conversation, Count: n.unread, Since: since, Expires: n.Expires,
		}
		ids.Write([]byte(h.ID))
		body.Data.Notifications = append(body.Data.Notifications, h)
	}
	b, err := im.JSON(body)
	if err != nil {
		return im.Wrap(im.Internal, err, "writing notifications")
	}
	id := "away_" + base64.RawURLEncoding.EncodeToString(ids.Sum(nil)[:18])
	return w.post(ctx, id, now, b)
}

// problemOf says what is to be done about an error of either way.
func problemOf(err error) problem {
	var web *webpush.Failure
	var hook *webhook.Failure
	switch {
	case errors.As(err, &web) && web.Gone():
		return problem{gone: true}
	case errors.As(err, &web):
		p := ofStatus(web.Status)
		p.after = web.RetryAfter
		// Who is refused is one device; what is wrong with the webhook is mended.
		p.never = web.Status >= 300 && !p.unanswered && web.Status != http.StatusTooManyRequests && web.Status != http.StatusRequestTimeout ||
			errors.Is(err, webhook.ErrPrivate)
		return p
	case errors.As(err, &hook):
		p := ofStatus(hook.Status)
		p.after = hook.RetryAfter
		return p
	}
	return problem{unanswered: true}
}

func ofStatus(status int) problem {
	return problem{unanswered: status == 0 || status >= http.StatusInternalServerError}
}

// hostOf returns the host of a URL.
func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}
