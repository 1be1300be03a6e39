package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// get returns a group as the caller sees it. Who is not in it sees it if they
// could ask to be.
func get(groups reader) func(context.Context, im.Caller, one) (im.GroupInfo, error) {
	return func(ctx context.Context, c im.Caller, in one) (im.GroupInfo, error) {
		if err := checkGroup(in.Group); err != nil {
			return im.GroupInfo{}, err
		}
		g, err := groups.Group(ctx, in.Group, c.User)
		if err == nil && g.Role() == im.RoleNone && g.Policy == im.PolicyInvite {
			err = im.NoGroup()
		}
		if err != nil {
			return im.GroupInfo{}, fmt.Errorf("reading group %s: %w", in.Group, err)
		}
		return g, nil
	}
}
