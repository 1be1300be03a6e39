package webhook

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type hookLister interface {
	// Webhooks returns those of a bot of an owner, "" for all of them.
	Webhooks(ctx context.Context, owner, bot string) ([]im.Webhook, error)
}

type listRequest struct {
	Bot string `json:"bot"` // "" is all
}

type webhooks struct {
	Webhooks []im.Webhook `json:"webhooks"` // all of them: there are not many
}

func list(of hookLister) func(context.Context, im.Caller, listRequest) (webhooks, error) {
	return func(ctx context.Context, c im.Caller, in listRequest) (webhooks, error) {
		if in.Bot != "" && !im.IsID(in.Bot) {
			return webhooks{}, im.Errorf(im.Invalid, `"bot" is the id of a bot`)
		}
		found, err := of.Webhooks(ctx, c.User, in.Bot)
		if err != nil {
			return webhooks{}, fmt.Errorf("listing webhooks: %w", err)
		}
		return webhooks{append([]im.Webhook{}, found...)}, nil
	}
}
