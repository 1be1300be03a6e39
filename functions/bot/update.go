package bot

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type updater interface {
	// UpdateBot changes a bot and returns it. NotFound: the owner has no such bot.
	UpdateBot(ctx context.Context, owner, bot string, c im.BotChange) (im.Bot, error)
}

type updateRequest struct {
	Bot  string  `json:"bot"`
	Name *string `json:"name"`
	Bio  *string `json:"bio"`
}

// update changes what is named; the rest stays as it is.
func update(bots updater) func(context.Context, im.Caller, updateRequest) (im.Bot, error) {
	return func(ctx context.Context, c im.Caller, in updateRequest) (im.Bot, error) {
		if err := checkBot(in.Bot); err != nil {
			return im.Bot{}, err
		}
		if in.Name != nil {
			if err := im.CheckName(*in.Name); err != nil {
				return im.Bot{}, err
			}
		}
		if in.Bio != nil {
			if err := im.CheckBio(*in.Bio); err != nil {
				return im.Bot{}, err
			}
		}
		b, err := bots.UpdateBot(ctx, c.User, in.Bot, im.BotChange{Name: in.Name, Bio: in.Bio})
		if err != nil {
			return im.Bot{}, fmt.Errorf("changing a bot: %w", err)
		}
		return b, nil
	}
}

func checkBot(bot string) error {
	if !im.IsID(bot) {
		return im.Errorf(im.Invalid, `"bot" is the id of a bot`)
	}
	return nil
}
