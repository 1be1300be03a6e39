package im

import "strings"

// A Friend is somebody in a user's list of friends, as that user has them.
type Friend struct {
	User    Profile `json:"user"`
	Remark  string  `json:"remark"` // the user's own name for them
	Since   Time    `json:"since"`
	Version int64   `json:"version"` // of the list, when this last changed
}

// A FriendChange is a friend who came into a list or changed there, or one who
// was removed from it, of whom the id and the version are said.
type FriendChange struct {
	Friend
	Removed bool
}

// FriendChanges are changes of a list of friends, in order.
type FriendChanges struct {
	Changes []FriendChange
	Version int64 // of the list, before they were read: what is not among them is later
	Known   bool  // false if what was asked for is no longer known: read the whole list
}

// A FriendPlace is a place in the order of the changes of a list of friends.
type FriendPlace struct {
	Version int64
	ID      string // of the friend
}

// A FriendRequest is one user's request to be another's friend, as one of the
// two sees it.
type FriendRequest struct {
	User        Profile `json:"user"` // the other of the two
	Message     string  `json:"message"`
	Source      string  `json:"source"` // where they found the other, such as "search"
	RequestedAt Time    `json:"requested_at"`
}

// An Ask is a FriendRequest as it is made.
type Ask struct {
	From, To        string
	Message, Source string
	At              Time
	Hidden          bool // To never sees it; From cannot tell
}

// Limits of friends, in characters. How many friends one has is a setting.
const (
	MaxAskMessage = 200 // of what is said to who is asked
	MaxAskSource  = 32
	MaxRemark     = 64
)

// Check reports what in a could never be asked.
func (a Ask) Check() error {
	if !IsID(a.To) {
		return Errorf(Invalid, "%.40q is not the id of a user", a.To)
	}
	if a.To == a.From {
		return Errorf(Invalid, "you cannot be a friend of yourself")
	}
	if err := checkText("message", a.Message, MaxAskMessage); err != nil {
		return err
	}
	if len(a.Source) > MaxAskSource || a.Source != "" && !printable(a.Source) {
		return Errorf(Invalid, `"source" is a word of at most %d printable ASCII characters, such as "search" or "group"`, MaxAskSource)
	}
	return nil
}

// CheckRemark reports whether s could be what somebody calls a friend.
func CheckRemark(s string) error {
	if strings.ContainsRune(s, '\n') {
		return Errorf(Invalid, `"remark" is one line`)
	}
	return checkText("remark", s, MaxRemark)
}

// A Block is somebody whom a user has blocked.
type Block struct {
	User  Profile `json:"user"`
	Since Time    `json:"since"`
}

// A PairState is how one user stands to another. The zero PairState is that of
// users of whom one does not exist.
type PairState struct {
	Exist     bool // both of them
	Takes     bool // the other takes requests to be friends
	Friends   bool
	Blocks    bool // the user has blocked the other
	BlockedBy bool // the other has blocked the user
	Asked     Time // when the user asked the other to be friends; 0 is never, or it is over
	AskedBy   Time // when the other asked the user, likewise
	Hidden    bool // the user is not to see that they were asked
}
