package im

import "time"

// A PlaceRequest asks for the place of a message in its conversation.
type PlaceRequest struct {
	Conversation Conversation
	From         string
	ClientID     string
	Digest       string // of Draft.Digest

	// Of a message to a group, what it is refused for unless it was placed before:
	Recipients int           // whom it costs the group an entry each; 0 is not counted
	Slow       time.Duration // the least time between two messages of the sender; 0 is none
}

// A Charge is what a user is about to cost others: an entry in so many inboxes.
type Charge struct {
	User       string
	Recipients int
}

// A PlaceResult answers a PlaceRequest. Err is Conflict if the sender has used
// the client id for a message of another digest.
type PlaceResult struct {
	Place
	Again bool // the place was given before
	Err   error
}
