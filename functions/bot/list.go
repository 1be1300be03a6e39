package bot

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type botLister interface {
	// Bots returns the bots of an owner.
	Bots(ctx context.Context, owner string) ([]im.Bot, error)
}

type nothing struct{}

type botList struct {
	Bots []im.Bot `json:"bots"` // all of them: there are not many
}

func list(of botLister) func(context.Context, im.Caller, nothing) (botList, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (botList, error) {
		found, err := of.Bots(ctx, c.User)
		if err != nil {
			return botList{}, fmt.Errorf("listing bots: %w", err)
		}
		return botList{append([]im.Bot{}, found...)}, nil
	}
}
