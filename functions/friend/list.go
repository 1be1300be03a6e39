package friend

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

type lists interface {
	// Friends returns at most limit friends of user, by id, those after an id,
	// and the version of the list before they were read.
	Friends(ctx context.Context, user, after string, limit int) ([]im.Friend, int64, error)
	// FriendChanges returns at most limit changes of the list of friends of
	// user, those after a place.
	FriendChanges(ctx context.Context, user string, after im.FriendPlace, limit int) (im.FriendChanges, error)
}

type listIn struct {
	Since  int64  `json:"since"`
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor"`
}

// A listPage is a part of a list of friends: of the whole list, of which who
// does not appear in it is no friend, or of its changes since a version.
type listPage struct {
	Friends []im.Friend `json:"friends"`
	Removed []string    `json:"removed,omitzero"`
	Full    bool        `json:"full"`
	Version int64       `json:"version"` // what to ask for next, once the last page is read
	Next    string      `json:"next,omitempty"`
}

// beginning is before the first friend, whatever the version of the list.
var beginning = afterFriend{Whole: true, Version: -1}

// atTheEnd follows every id, so that a place with it is after all of a version.
const atTheEnd = "~"

// list hands out the friends of the caller, or what has changed of them.
//
// Nothing is missed that changes while pages are read. The whole list is in the
// order of ids, and all its pages bear the version that it had before the first
// was read: what changed since then comes when that version is asked for. Changes
// are in the order of their versions, so that what changes goes to the end; the
// last page bears the version from before it was read.
func list(from lists) func(context.Context, im.Caller, listIn) (listPage, error) {
	return func(ctx context.Context, c im.Caller, in listIn) (listPage, error) {
		limit, err := im.Limit(in.Limit, defaultFriends, maxFriendsPage)
		if err != nil {
			return listPage{}, err
		}
		if in.Since < 0 {
			return listPage{}, im.Errorf(im.Invalid, `"since" is a version that a list gave, not %d`, in.Since)
		}
		at := afterFriend{At: in.Since, ID: atTheEnd}
		if in.Since == 0 {
			at = beginning
		}
		if at, err = cursor.Decode(in.Cursor, at); err != nil {
			return listPage{}, err
		}
		if !at.Whole {
			page, known, err := changes(ctx, from, c.User, at, limit)
			if err != nil {
				return listPage{}, fmt.Errorf("listing changes of friends: %w", err)
			}
			if known {
				return page, nil
			}
			at = beginning
		}
		page, err := whole(ctx, from, c.User, at, limit)
		if err != nil {
			return listPage{}, fmt.Errorf("listing friends: %w", err)
		}
		return page, nil
	}
}

func whole(ctx context.Context, from lists, user string, at afterFriend, limit int) (page listPage, err error) {
	friends, version, err := from.Friends(ctx, user, at.ID, limit+1)
	if err != nil {
		return page, err
	}
	if at.Version >= 0 {
		version = at.Version
	}
	friends, last := cursor.Cut(friends, im.Fit(friends, limit, im.Friend.WrittenLen))
	page = listPage{Friends: friends, Full: true, Version: version}
	if last != nil {
		page.Next = cursor.Encode(afterFriend{Whole: true, Version: version, ID: last.User.ID})
	}
	return page, nil
}

func changes(ctx context.Context, from lists, user string, at afterFriend, limit int) (page listPage, known bool, err error) {
	got, err := from.FriendChanges(ctx, user, im.FriendPlace{Version: at.At, ID: at.ID}, limit+1)
	if err != nil || !got.Known {
		return page, false, err
	}
	page = listPage{Friends: []im.Friend{}, Removed: []string{}, Version: got.Version}
	found, last := cursor.Cut(got.Changes, im.Fit(got.Changes, limit, func(f im.FriendChange) int { return f.WrittenLen() }))
	for _, f := range found {
		if f.Removed {
			page.Removed = append(page.Removed, f.User.ID)
		} else {
			page.Friends = append(page.Friends, f.Friend)
		}
	}
	if last != nil {
		page.Next = cursor.Encode(afterFriend{At: last.Version, ID: last.User.ID})
	}
	return page, true, nil
}
