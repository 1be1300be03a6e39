package webhook

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/webhook"
)

type hookCreator interface {
	// CreateWebhook adds a webhook. Denied: the bot may have no more, or is not
	// in the conversation. NotFound: the owner has no such bot.
	CreateWebhook(ctx context.Context, owner string, w im.Webhook, secret string, most int) error
}

type urlChecker interface {
	// CheckURL reports why nothing could be sent to a URL.
	CheckURL(url string) error
}

type sealer interface {
	// Seal encrypts a secret of something.
	Seal(secret []byte, of ...string) string
}

type limiter interface {
	// Allow counts that somebody does something once more. Overloaded: too often.
	Allow(ctx context.Context, user string) error
}

type createRequest struct {
	Bot          string          `json:"bot"`
	URL          string          `json:"url"`
	Events       []string        `json:"events"`
	Conversation im.Conversation `json:"conversation"` // "" is all
}

// withSecret is a webhook and, if it is new, its secret.
type withSecret struct {
	Webhook im.Webhook `json:"webhook"`
	Secret  string     `json:"secret,omitempty"`
}

// shown is withSecret of which the secret is new.
type shown struct{ withSecret }

// ShownOnce says that the answer is kept nowhere.
func (shown) ShownOnce() {}

type creator struct {
	hooks hookCreator
	urls  urlChecker
	vault sealer
	limit limiter
	most  int // webhooks of a bot
}

func (c *creator) call(ctx context.Context, who im.Caller, in createRequest) (shown, error) {
	if !im.IsID(in.Bot) {
		return shown{}, im.Errorf(im.Invalid, `"bot" is the id of a bot`)
	}
	if !slices.Equal(in.Events, im.WebhookEvents) {
		return shown{}, im.Errorf(im.Invalid, `"events" is %q`, im.WebhookEvents)
	}
	if err := cmp.Or(c.urls.CheckURL(in.URL), checkConversation(in.Conversation)); err != nil {
		return shown{}, err
	}
	if err := c.limit.Allow(ctx, who.User); err != nil {
		return shown{}, err
	}
	w := im.Webhook{ID: im.NewID(), Bot: in.Bot, URL: in.URL, Events: in.Events, Conversation: in.Conversation, Enabled: true, Created: im.Now()}
	secret := webhook.NewSecret()
	if err := c.hooks.CreateWebhook(ctx, who.User, w, c.vault.Seal([]byte(secret), ofWebhook(w.ID)...), c.most); err != nil {
		return shown{}, fmt.Errorf("creating a webhook: %w", err)
	}
	return shown{withSecret{w, secret}}, nil
}

func checkConversation(c im.Conversation) error {
	if c == "" {
		return nil
	}
	return c.Check()
}

// ofWebhook is what a secret is sealed as being of.
func ofWebhook(id string) []string { return []string{"webhook", id} }
