package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultGroups = 50
	maxGroups     = 100
)

// reader reads groups as a user sees them.
type reader interface {
	// Group returns a group. NotFound: there is none, or it was dissolved.
	Group(ctx context.Context, group, user string) (im.GroupInfo, error)
	// Groups returns at most limit groups of a user, those first that they
	// joined last: those before the group that they joined then, or from the
	// last on if joined is 0.
	Groups(ctx context.Context, user string, joined im.Time, group string, limit int) ([]im.GroupInfo, error)
}

type groupPage struct {
	Groups []im.GroupInfo `json:"groups"`
	Next   string         `json:"next,omitempty"`
}

// list returns the groups of the caller, the newest to them first.
func list(groups reader) func(context.Context, im.Caller, page) (groupPage, error) {
	return func(ctx context.Context, c im.Caller, in page) (groupPage, error) {
		limit, err := im.Limit(in.Limit, defaultGroups, maxGroups)
		if err != nil {
			return groupPage{}, err
		}
		from, err := cursor.Decode(in.Cursor, cursor.User{})
		if err != nil {
			return groupPage{}, err
		}
		found, err := groups.Groups(ctx, c.User, from.Time, from.ID, limit+1)
		if err != nil {
			return groupPage{}, fmt.Errorf("listing groups: %w", err)
		}
		found, last := cursor.Cut(found, limit)
		out := groupPage{Groups: found}
		if last != nil {
			out.Next = cursor.Encode(cursor.User{Time: last.Me.Joined, ID: last.ID})
		}
		return out, nil
	}
}
