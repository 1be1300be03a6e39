package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type updateRequest struct {
	Group string `json:"group"`
	im.GroupChange
}

// update changes what is said of a group and returns it as it is then. It tells
// of what was not so before.
func update(change changer) func(context.Context, im.Caller, updateRequest) (im.GroupInfo, error) {
	return func(ctx context.Context, c im.Caller, in updateRequest) (im.GroupInfo, error) {
		if err := checkGroup(in.Group); err != nil {
			return im.GroupInfo{}, err
		}
		if in.GroupChange == (im.GroupChange{}) {
			return im.GroupInfo{}, im.Errorf(im.Invalid, `nothing is to be changed: give "name", "about", "policy" or "slow_seconds"`)
		}
		if err := in.GroupChange.Check(); err != nil {
			return im.GroupInfo{}, err
		}
		var g im.GroupInfo
		err := change(ctx, func(ctx context.Context, tx tx) (err error) {
			if g, err = lock(ctx, tx, in.Group, c, im.UpdateGroup); err != nil {
				return err
			}
			changed := in.GroupChange.Of(g)
			if changed == (im.GroupChange{}) {
				return nil
			}
			version, err := tx.UpdateGroup(ctx, g.ID, changed)
			if err != nil {
				return err
			}
			if g, err = tx.LockGroup(ctx, g.ID, c.User); err != nil {
				return err
			}
			data := fields{"version": version}
			if changed.Name != nil {
				data["name"] = g.Name
			}
			if changed.About != nil {
				data["about"] = g.About
			}
			if changed.Policy != nil {
				data["policy"] = g.Policy
			}
			if changed.SlowSeconds != nil {
				data["slow_seconds"] = g.SlowSeconds
			}
			return tell(tx, im.GroupUpdated, g.ID, c.User, data)
		})
		if err != nil {
			return im.GroupInfo{}, fmt.Errorf("updating group %s: %w", in.Group, err)
		}
		return g, nil
	}
}
