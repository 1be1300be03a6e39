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

// A Relation is what two users are to each other, as of a version. Each change
// of Blocked and Friends makes a greater version; Exist has none.
type Relation struct {
	Exist   bool // both of them
	Blocked bool // by either
	Friends bool
	Version int64
}

// The policies of who may write to whom directly.
const (
	DirectOpen    = "open"    // anybody who has not been blocked
	DirectFriends = "friends" // friends only
)

// MayWrite reports whether either user may write to the other under a policy.
// It does not say who blocked whom, nor whether it is for a block.
func (r Relation) MayWrite(policy string) error {
	switch {
	case !r.Exist:
		return Errorf(NotFound, "there is no such user")
	case r.Blocked, policy == DirectFriends && !r.Friends:
		return Errorf(Denied, "this user does not take messages from you")
	}
	return nil
}
