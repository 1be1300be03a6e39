package friend

import (
	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultPage    = 50 // of requests and blocks
	maxPage        = 100
	defaultFriends = 200
	maxFriendsPage = 1000
)

// first is before all, of newest first.
var first = cursor.User{Time: im.LastPlace.Time}

// afterFriend is the cursor of a list of friends.
type afterFriend struct {
	Whole   bool   `json:"w,omitempty"`
	Version int64  `json:"v,omitempty"` // of the whole list, as its first page said it
	At      int64  `json:"a,omitempty"` // of changes: the version of the last
	ID      string `json:"i"`
}

// Valid is that of a cursor.
func (a afterFriend) Valid() bool { return a.Version >= 0 && a.At >= 0 && im.IsID(a.ID) }
