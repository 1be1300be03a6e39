package friend

import (
	"encoding/base64"
	"encoding/json"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultPage    = 50 // of requests and blocks
	maxPage        = 100
	defaultFriends = 200
	maxFriendsPage = 1000
	maxCursor      = 256 // bytes
)

// A cursor says after what a page begins. To clients it means nothing. It
// grants nothing either: a page is always of the caller's own.

// afterOne is the cursor of a list that is ordered by time and id.
type afterOne struct {
	Time im.Time `json:"t"`
	ID   string  `json:"i"`
}

// first is before all, of newest first.
var first = afterOne{Time: 253402300799_999_999, ID: ""} // 9999-12-31T23:59:59.999999Z

// afterFriend is the cursor of a list of friends.
type afterFriend struct {
	Whole   bool   `json:"w,omitempty"`
	Version int64  `json:"v,omitempty"` // of the whole list, as its first page said it
	At      int64  `json:"a,omitempty"` // of changes: the version of the last
	ID      string `json:"i"`
}

func formatCursor(c any) (string, error) {
	b, err := im.JSON(c)
	if err != nil {
		return "", im.Wrap(im.Internal, err, "writing a cursor")
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

func parseCursor[T any](s string) (c T, err error) {
	if len(s) > maxCursor {
		return c, im.Errorf(im.Invalid, "this is not a cursor: use what a page gave as next")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, im.Wrap(im.Invalid, err, "%.40q is not a cursor: use what a page gave as next", s)
}
