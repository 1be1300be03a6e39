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

type removeRequest struct {
	named
	Ban bool `json:"ban"` // and keep them out
}

// remove takes members out of a group. If one of those named may not be
// removed, nobody is. Who is told of is who was removed, and nobody else.
func remove(change changer, now func() im.Time) func(context.Context, im.Caller, removeRequest) (removed, error) {
	return func(ctx context.Context, c im.Caller, in removeRequest) (removed, error) {
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
				if err := mayRemove(g, m.Role); err != nil {
					return err
				}
			}
			gone, err := takeOut(ctx, tx, g.ID, c.User, in.Users)
			if err != nil || len(gone) == 0 {
				return err
			}
			out.Removed = gone
			if !in.Ban {
				return nil
			}
			return ban(ctx, tx, g.ID, gone, im.GroupBan{By: c.User, Created: now()})
		})
		if err != nil {
			return removed{}, fmt.Errorf("removing from group %s: %w", in.Group, err)
		}
		return out, nil
	}
}

// mayRemove reports why who sees g may not remove somebody with a role.
func mayRemove(g im.GroupInfo, role im.Role) error {
	needs, err := im.Removing(role)
	if err == nil {
		err = im.May(g.Role(), needs)
	}
	return err
}

// takeOut takes users out of a group that is locked, and tells of who was in it.
func takeOut(ctx context.Context, tx tx, group, by string, users []string) ([]string, error) {
	before, err := tx.MembersOf(ctx, group)
	if err != nil {
		return nil, err
	}
	gone, version, err := tx.RemoveMembers(ctx, group, users)
	if err != nil || len(gone) == 0 {
		return nil, err
	}
	slices.Sort(gone)
	return gone, tell(tx, im.GroupRemoved, group, by, fields{"users": gone, "version": version}, before...)
}
