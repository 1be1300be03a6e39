package webhook

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/webhook"
)

type hookUpdater interface {
	// UpdateWebhook changes a webhook and returns it. NotFound: the owner has none
	// of this id.
	UpdateWebhook(ctx context.Context, owner, webhook string, c im.WebhookChange) (im.Webhook, error)
}

type updateRequest struct {
	Webhook      string           `json:"webhook"`
	URL          *string          `json:"url"`
	Conversation *im.Conversation `json:"conversation"` // "" is all
	Enabled      *bool            `json:"enabled"`
	RotateSecret bool             `json:"rotate_secret"`
}

type changer struct {
	hooks hookUpdater
	urls  urlChecker
	vault sealer
	limit limiter
}

// call changes what is named; the rest stays as it is. A secret that is
// rotated is signed with for a day more, beside the new one.
func (c *changer) call(ctx context.Context, who im.Caller, in updateRequest) (any, error) {
	if err := checkID(in.Webhook); err != nil {
		return nil, err
	}
	change := im.WebhookChange{URL: in.URL, Conversation: in.Conversation, Enabled: in.Enabled}
	if in.URL != nil {
		if err := c.urls.CheckURL(*in.URL); err != nil {
			return nil, err
		}
	}
	if in.Conversation != nil {
		if err := checkConversation(*in.Conversation); err != nil {
			return nil, err
		}
	}
	var secret string
	if in.RotateSecret {
		if err := c.limit.Allow(ctx, who.User); err != nil {
			return nil, err
		}
		secret = webhook.NewSecret()
		sealed := c.vault.Seal([]byte(secret), ofWebhook(in.Webhook)...)
		change.Secret = &sealed
	}
	w, err := c.hooks.UpdateWebhook(ctx, who.User, in.Webhook, change)
	if err != nil {
		return nil, fmt.Errorf("changing a webhook: %w", err)
	}
	if secret == "" {
		return withSecret{Webhook: w}, nil
	}
	return shown{withSecret{w, secret}}, nil
}

func checkID(webhook string) error {
	if !im.IsID(webhook) {
		return im.Errorf(im.Invalid, `"webhook" is the id of a webhook`)
	}
	return nil
}

type hookDeleter interface {
	// DeleteWebhook deletes a webhook. NotFound: the owner has none of this id.
	DeleteWebhook(ctx context.Context, owner, webhook string) error
}

type deleteRequest struct {
	Webhook string `json:"webhook"`
}

type nothing struct{}

func remove(hooks hookDeleter) func(context.Context, im.Caller, deleteRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in deleteRequest) (nothing, error) {
		if err := checkID(in.Webhook); err != nil {
			return nothing{}, err
		}
		if err := hooks.DeleteWebhook(ctx, c.User, in.Webhook); err != nil {
			return nothing{}, fmt.Errorf("deleting a webhook: %w", err)
		}
		return nothing{}, nil
	}
}
