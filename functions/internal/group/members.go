package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultMembers = 200
	maxMembers     = 1000
)

// membersReader reads who is in groups.
type membersReader interface {
	reader
	// MemberList returns at most limit members of a group in the order of their
	// ids, those after a user.
	MemberList(ctx context.Context, group, after string, limit int) ([]im.GroupMember, error)
	// MembersSince returns at most limit of those who joined a group, were
	// changed in it or left it after a version of it, in the order in which
	// they did; those of that version whose ids come after user are among them.
	// Who left has no role.
	MembersSince(ctx context.Context, group string, version int64, user string, limit int) ([]im.GroupMember, error)
}

type membersRequest struct {
	Group string `json:"group"`
	Since *int64 `json:"since"` // only what has changed after this version
	page
}

// A membersPage is a part of the members of a group, or of what has changed of
// them. Version is what to give as since, once the last page has been read: it
// misses nothing, whatever changed between the pages.
type membersPage struct {
	Members []im.GroupMember `json:"members"`
	Removed []string         `json:"removed,omitempty"`
	Version int64            `json:"version"`
	Next    string           `json:"next,omitempty"`
}

// afterAll is after all users of a version.
const afterAll = "~"

// members returns who is in a group of the caller's.
func members(groups membersReader) func(context.Context, im.Caller, membersRequest) (membersPage, error) {
	return func(ctx context.Context, c im.Caller, in membersRequest) (membersPage, error) {
		if err := checkGroup(in.Group); err != nil {
			return membersPage{}, err
		}
		limit, err := in.limit(defaultMembers, maxMembers)
		if err != nil {
			return membersPage{}, err
		}
		var from *cursor
		if in.Cursor != "" {
			at, err := parseCursor(in.Cursor, 1)
			if err != nil {
				return membersPage{}, err
			}
			from = &at
		}
		if in.Since != nil && (*in.Since < 0 || *in.Since > maxNumber) {
			return membersPage{}, im.Errorf(im.Invalid, `"since" is the "version" of an earlier answer`)
		}
		// The version before the members: what is newer than it comes again.
		g, err := groups.Group(ctx, in.Group, c.User)
		if err == nil {
			err = im.May(g.Role(), im.SeeMembers)
		}
		var out membersPage
		if err == nil && in.Since == nil {
			out, err = all(ctx, groups, g, from, limit)
		} else if err == nil {
			out, err = since(ctx, groups, g, *in.Since, from, limit)
		}
		if err != nil {
			return membersPage{}, fmt.Errorf("reading the members of group %s: %w", in.Group, err)
		}
		return out, nil
	}
}

// all returns a page of all members. Its version is that of the first page: who
// joins where a page was read already is found by it later.
func all(ctx context.Context, groups membersReader, g im.GroupInfo, from *cursor, limit int) (membersPage, error) {
	out := membersPage{Version: g.Version}
	after := ""
	if from != nil {
		out.Version, after = from.numbers[0], from.id
	}
	list, err := groups.MemberList(ctx, g.ID, after, limit+1)
	if err != nil {
		return membersPage{}, err
	}
	list, last := cut(list, limit)
	out.Members = list
	if last != nil {
		out.Next = cursor{[]int64{out.Version}, last.User.ID}.String()
	}
	return out, nil
}

// since returns a page of what has changed. Its version is that of the last of
// it, or that of the group if there is no more.
func since(ctx context.Context, groups membersReader, g im.GroupInfo, version int64, from *cursor, limit int) (membersPage, error) {
	user := afterAll
	if from != nil {
		version, user = from.numbers[0], from.id
	}
	list, err := groups.MembersSince(ctx, g.ID, version, user, limit+1)
	if err != nil {
		return membersPage{}, err
	}
	list, last := cut(list, limit)
	out := membersPage{Members: []im.GroupMember{}, Version: max(g.Version, version)}
	for _, m := range list {
		if m.Role == im.RoleNone {
			out.Removed = append(out.Removed, m.User.ID)
		} else {
			out.Members = append(out.Members, m)
		}
	}
	if last != nil {
		out.Version = last.Version - 1 // others of the same version may follow
		out.Next = cursor{[]int64{last.Version}, last.User.ID}.String()
	}
	return out, nil
}
