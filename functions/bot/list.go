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

type bots struct {
	Bots []im.Bot `json:"bots"` // all of them: there are not many
}

func list(of botLister) func(context.Context, im.Caller, nothing) (bots, error) {
	return func(ctx context.Context, c im.Caller, _ nothing) (bots, error) {
		found, err := of.Bots(ctx, c.User)
		if err != nil {
			return bots{}, fmt.Errorf("listing bots: %w", err)
		}
		return bots{append([]im.Bot{}, found...)}, nil
	}
}
