package im

// A PlaceRequest asks for the place of a message in its conversation.
type PlaceRequest struct {
	Conversation Conversation
	From         string
	ClientID     string
	Digest       string // of Draft.Digest
}

// A PlaceResult answers a PlaceRequest. Err is Conflict if the sender has used
// the client id for a message of another digest.
type PlaceResult struct {
	Place
	Again bool // the place was given before
	Err   error
}
