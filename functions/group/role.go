package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type roleRequest struct {
	Group string  `json:"group"`
	User  string  `json:"user"`
	Role  im.Role `json:"role"`
}

// role says what a member is in a group. To make somebody its owner makes the
// caller, who was that, an admin.
func role(change changer) func(context.Context, im.Caller, roleRequest) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in roleRequest) (nothing, error) {
		if err := checkGroup(in.Group); err != nil {
			return nothing{}, err
		}
		if err := checkUsers([]string{in.User}, 1); err != nil {
			return nothing{}, err
		}
		needs := im.GiveRoles
		switch in.Role {
		case im.RoleOwner:
			needs = im.HandOver
		case im.RoleAdmin, im.RoleMember:
		default:
			return nothing{}, im.Errorf(im.Invalid, "%.40q is not a role: it is %s, %s or %s", string(in.Role), im.RoleOwner, im.RoleAdmin, im.RoleMember)
		}
		err := change(ctx, func(ctx context.Context, tx tx) error {
			g, err := lock(ctx, tx, in.Group, c, needs)
			if err != nil {
				return err
			}
			members, err := tx.InGroup(ctx, g.ID, []string{in.User})
			if err != nil {
				return err
			}
			var version int64
			switch was := members[in.User].Role; {
			case was == im.RoleNone:
				return notIn()
			case was == in.Role:
				return nil
			case was == im.RoleOwner:
				return im.Errorf(im.Conflict, "a group has an owner: hand it over to somebody else")
			case in.Role == im.RoleOwner:
				version, err = tx.HandOver(ctx, g.ID, in.User)
			default:
				version, err = tx.SetRole(ctx, g.ID, in.User, in.Role)
			}
			if err != nil {
				return err
			}
			return tell(tx, im.GroupRole, g.ID, c.User, fields{"user": in.User, "role": in.Role, "version": version})
		})
		if err != nil {
			return nothing{}, fmt.Errorf("giving a role in group %s: %w", in.Group, err)
		}
		return nothing{}, nil
	}
}

// notIn is the error of a user who is not in a group that the caller is in.
func notIn() error { return im.Errorf(im.NotFound, "this user is not in the group") }
