package im

// MaxPinned is the most conversations that a user has pinned.
const MaxPinned = 50

// A ConversationState is what a user has done to one of their conversations.
type ConversationState struct {
	Read   string `json:"read,omitempty"` // id of the message up to which they have read all; "" is none
	Pinned bool   `json:"pinned"`
	Muted  bool   `json:"muted"`
	Hidden string `json:"hidden,omitempty"` // id of a message: hidden until there is a later one; "" is not
}

// A ConversationChange is what a user changes of one; nil stays as it is.
type ConversationChange struct {
	Pinned, Muted *bool
	Hidden        *string
}
