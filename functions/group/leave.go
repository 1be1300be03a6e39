package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type one struct {
	Group string `json:"group"`
}

// leave takes the caller out of a group. Who has left before is told that it is
// done.
func leave(change changer, now func() im.Time) func(context.Context, im.Caller, one) (nothing, error) {
	return func(ctx context.Context, c im.Caller, in one) (nothing, error) {
		if err := checkGroup(in.Group); err != nil {
			return nothing{}, err
		}
		err := change(ctx, func(ctx context.Context, tx tx) error {
			g, err := tx.LockGroup(ctx, in.Group, c.User)
			if err != nil {
				return err
			}
			switch g.Role() {
			case im.RoleOwner:
				return im.Errorf(im.Conflict, "the group is yours: hand it over, or dissolve it")
			case im.RoleNone:
				left, err := tx.HaveLeft(ctx, g.ID, c.User)
				if err != nil || left {
					return err
				}
			}
			if err := im.May(g.Role(), im.Leave); err != nil {
				return err
			}
			before, err := tx.MembersOf(ctx, g.ID)
			if err != nil {
				return err
			}
			_, version, err := tx.RemoveMembers(ctx, g.ID, []string{c.User})
			if err != nil {
				return err
			}
			at := now()
			if err := tx.NoteLeft(ctx, g.ID, c.User, at); err != nil {
				return err
			}
			return announce(ctx, tx, at, []string{c.User}, im.GroupLeft, g.ID, c.User, fields{"user": c.User, "version": version}, before...)
		})
		if err != nil {
			return nothing{}, fmt.Errorf("leaving group %s: %w", in.Group, err)
		}
		return nothing{}, nil
	}
}
