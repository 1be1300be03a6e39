package group

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
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
	Since int64  `json:"since"` // only what has changed after this version; 0 is the whole list
	page
}

// A membersPage is a part of the members of a group: of the whole list, in
// which everybody is who is one, or of its changes since a version. Version is
// what to give as since, once the last page has been read: it misses nothing,
// whatever changed between the pages.
type membersPage struct {
	Members []im.GroupMember `json:"members"`
	Removed []string         `json:"removed,omitzero"`
	Full    bool             `json:"full"`
	Version int64            `json:"version"`
	Next    string           `json:"next,omitempty"`
}

// A memberPlace is after which member a page of a list begins, and of which
// list: of the whole one, with the version that its first page bore, or of
// changes, with the version of the last.
type memberPlace struct {
	Whole   bool   `json:"w,omitempty"`
	Version int64  `json:"v"`
	User    string `json:"i"`
}

// Valid is that of a cursor.
func (p memberPlace) Valid() bool { return p.Version >= 0 && im.IsID(p.User) }

// afterAll is after all users of a version.
const afterAll = "~"

// from returns where the page that in asks for begins. What a cursor is of is
// in the cursor, whatever is said besides.
func (in membersRequest) from() (memberPlace, error) {
	if in.Since < 0 {
		return memberPlace{}, im.Errorf(im.Invalid, `"since" is the "version" of an earlier answer`)
	}
	first := memberPlace{Version: in.Since, User: afterAll}
	if in.Since == 0 {
		first = memberPlace{Whole: true}
	}
	return cursor.Decode(in.Cursor, first)
}

// members returns who is in a group of the caller's.
func members(groups membersReader) func(context.Context, im.Caller, membersRequest) (membersPage, error) {
	return func(ctx context.Context, c im.Caller, in membersRequest) (membersPage, error) {
		if err := checkGroup(in.Group); err != nil {
			return membersPage{}, err
		}
		limit, err := im.Limit(in.Limit, defaultMembers, maxMembers)
		if err != nil {
			return membersPage{}, err
		}
		from, err := in.from()
		if err != nil {
			return membersPage{}, err
		}
		// The version before the members: what is newer than it comes again.
		g, err := groups.Group(ctx, in.Group, c.User)
		if err == nil {
			err = im.May(g.Role(), im.SeeMembers)
		}
		// A version that has not been is from before the database was restored:
		// nobody knows what has changed since then.
		if from.User == "" || from.Version > g.Version {
			from = memberPlace{Whole: true, Version: g.Version}
		}
		var out membersPage
		switch {
		case err != nil:
		case from.Whole:
			out, err = all(ctx, groups, g, from, limit)
		default:
			out, err = since(ctx, groups, g, from, limit)
		}
		if err != nil {
			return membersPage{}, fmt.Errorf("reading the members of group %s: %w", in.Group, err)
		}
		return out, nil
	}
}

// all returns a page of all members. Its version is that of the first page: who
// joins where a page was read already is found by it later.
func all(ctx context.Context, groups membersReader, g im.GroupInfo, from memberPlace, limit int) (membersPage, error) {
	list, err := groups.MemberList(ctx, g.ID, from.User, limit+1)
	if err != nil {
		return membersPage{}, err
	}
	list, last := cursor.Cut(list, im.Fit(list, limit, im.GroupMember.WrittenLen))
	out := membersPage{Members: list, Full: true, Version: from.Version}
	if last != nil {
		out.Next = cursor.Encode(memberPlace{true, from.Version, last.User.ID})
	}
	return out, nil
}

// since returns a page of what has changed. Its version is that of the last of
// it, or that of the group if there is no more.
func since(ctx context.Context, groups membersReader, g im.GroupInfo, from memberPlace, limit int) (membersPage, error) {
	list, err := groups.MembersSince(ctx, g.ID, from.Version, from.User, limit+1)
	if err != nil {
		return membersPage{}, err
	}
	list, last := cursor.Cut(list, im.Fit(list, limit, im.GroupMember.WrittenLen))
	out := membersPage{Members: []im.GroupMember{}, Removed: []string{}, Version: g.Version}
	for _, m := range list {
		if m.Role == im.RoleNone {
			out.Removed = append(out.Removed, m.User.ID)
		} else {
			out.Members = append(out.Members, m)
		}
	}
	if last != nil {
		out.Version = last.Version - 1 // others of the same version may follow
		out.Next = cursor.Encode(memberPlace{false, last.Version, last.User.ID})
	}
	return out, nil
}
