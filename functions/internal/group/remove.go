package group

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// removed says who was taken out of a group.
type removed struct {
	Removed []string `json:"removed"`
}

// remove takes members out of a group. If one of those named may not be
// removed, nobody is. Who is told of is who was removed, and nobody else.
func remove(change changer) func(context.Context, im.Caller, named) (removed, error) {
	return func(ctx context.Context, c im.Caller, in named) (removed, error) {
		if err := in.check(); err != nil {
			return removed{}, err
		}
		if slices.Contains(in.Users, c.User) {
			return removed{}, im.Errorf(im.Invalid, "you do not remove yourself from a group: you leave it")
		}
		out := removed{Removed: []string{}}
		err := change(ctx, func(ctx context.Context, tx tx) error {
			g, err := lock(ctx, tx, in.Group, c, im.RemoveMember)
			if err != nil {
				return err
			}
			members, err := tx.InGroup(ctx, g.ID, in.Users)
			if err != nil {
				return err
			}
			for _, m := range members {
				needs, err := im.Removing(m.Role)
				if err == nil {
					err = im.May(g.Role(), needs)
				}
				if err != nil {
					return err
				}
			}
			before, err := tx.MembersOf(ctx, g.ID)
			if err != nil {
				return err
			}
			gone, version, err := tx.RemoveMembers(ctx, g.ID, in.Users)
			if err != nil || len(gone) == 0 {
				return err
			}
			slices.Sort(gone)
			out.Removed = gone
			return tell(tx, im.GroupRemoved, g.ID, c.User, fields{"users": gone, "version": version}, before...)
		})
		if err != nil {
			return removed{}, fmt.Errorf("removing from group %s: %w", in.Group, err)
		}
		return out, nil
	}
}
