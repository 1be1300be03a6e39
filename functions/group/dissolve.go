package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// dissolve ends a group, and tells who was in it.
func dissolve(change changer) func(context.Context, im.Caller, one) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in one) (nothing, error) {
		if err := checkGroup(in.Group); err != nil {
			return nothing{}, err
		}
		err := change(ctx, func(ctx context.Context, tx tx) error {
			g, err := lock(ctx, tx, in.Group, c, im.Dissolve)
			if err != nil {
				return err
			}
			members, version, err := tx.DissolveGroup(ctx, g.ID)
			if err != nil {
				return err
			}
			return tell(tx, im.GroupDissolved, g.ID, c.User, fields{"version": version}, members...)
		})
		if err != nil {
			return nothing{}, fmt.Errorf("dissolving group %s: %w", in.Group, err)
		}
		return nothing{}, nil
	}
}
