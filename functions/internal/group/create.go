package group

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

type creator interface {
	// CreateGroup adds a group. NotFound names the users that there are not.
	CreateGroup(context.Context, im.GroupInfo) error
}

type request struct {
	Name    string   `json:"name"`
	Members []string `json:"members"` // ids of users; the caller need not be among them
}

// create makes a group. The caller owns it and is a member of it.
func create(groups creator) func(context.Context, im.Caller, request) (im.GroupInfo, error) {
	return func(ctx context.Context, c im.Caller, in request) (im.GroupInfo, error) {
		if err := im.CheckName(in.Name); err != nil {
			return im.GroupInfo{}, err
		}
		for _, m := range in.Members {
			if !im.IsID(m) {
				return im.GroupInfo{}, im.Errorf(im.Invalid, "%.40q is not the id of a user", m)
			}
		}
		members := append([]string{c.User}, in.Members...)
		slices.Sort(members)
		members = slices.Compact(members)
		if len(members) > im.MaxGroup {
			return im.GroupInfo{}, im.Errorf(im.TooLarge, "a group has %d members at most, not %d", im.MaxGroup, len(members))
		}
		id := im.NewID()
		g := im.GroupInfo{
			ID:           id,
			Conversation: im.Group(id),
			Name:         in.Name,
			Owner:        c.User,
			Members:      members,
			Created:      im.Now(),
		}
		if err := groups.CreateGroup(ctx, g); err != nil {
			return im.GroupInfo{}, fmt.Errorf("creating a group: %w", err)
		}
		return g, nil
	}
}
