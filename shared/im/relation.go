package im

// A Pair is two users, in no order.
type Pair struct{ A, B string }

// PairOf returns the pair of two users, the smaller id first.
func PairOf(a, b string) Pair {
	if a > b {
		a, b = b, a
	}
	return Pair{a, b}
}

// A Relation is what two users are to each other.
type Relation struct {
	Exist   bool // both of them
	Blocked bool // by either
	Friends bool
}

// The policies of who may write to whom directly.
const (
	DirectOpen    = "open"    // anybody who has not been blocked
	DirectFriends = "friends" // friends only
)

// MayWrite reports whether either user may write to the other under a policy.
// It does not say who blocked whom.
func (r Relation) MayWrite(policy string) error {
	switch {
	case !r.Exist:
		return Errorf(NotFound, "there is no such user")
	case r.Blocked:
		return Errorf(Denied, "this user cannot be written to")
	case policy == DirectFriends && !r.Friends:
		return Errorf(Denied, "this user cannot be written to: you are not friends")
	}
	return nil
}

// Members are the members of a group as of a version of the list. Each change
// makes a greater version.
type Members struct {
	Version int64
	Users   []string // sorted
}

// A Membership asks whether a user is in a group.
type Membership struct{ Group, User string }
