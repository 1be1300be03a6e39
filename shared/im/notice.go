package im

import "encoding/json"

// A Notice tells of a change: who made it, where, and who is to know. It
// becomes a Message of KindNotice whose Data is {"type": Type, …Data}.
type Notice struct {
	Conversation Conversation    `json:"conversation"`
	From         string          `json:"from"` // who made the change
	Type         string          `json:"type"` // one of the types below
	Data         json.RawMessage `json:"data"` // a JSON object, without "type"

	// To are whose inboxes it goes to; From is always among them. nil is the
	// members of the group, as they are when the notice is put into inboxes.
	To []string `json:"to,omitempty"`

	// Quiet notices are for devices, not for eyes: they are in no history,
	// change no list of conversations and count as nothing.
	Quiet bool `json:"quiet,omitempty"`

	// Amended are messages as they are now. They take the place of what the
	// inboxes of To hold under the same ids with a lesser Revision.
	Amended []Message `json:"amended,omitempty"`

	// Former are users who are not told, but whose inboxes are amended: who has
	// left the group. MaxFormer at most.
	Former []string `json:"former,omitempty"`
}

// MaxFormer is the most users that a notice names as Former.
const MaxFormer = 1000

// The types of notice. docs/api.md says what each carries.
const (
	FriendRequested = "friend.requested"
	FriendAccepted  = "friend.accepted"
	FriendDeleted   = "friend.deleted"
	FriendUpdated   = "friend.updated" // own devices
	BlockChanged    = "block.changed"  // own devices

	GroupCreated       = "group.created"
	GroupJoined        = "group.joined"
	GroupLeft          = "group.left"
	GroupRemoved       = "group.removed"
	GroupUpdated       = "group.updated"
	GroupRole          = "group.role"
	GroupMuted         = "group.muted"
	GroupDissolved     = "group.dissolved"
	GroupJoinRequested = "group.join-requested" // to owner and admins
	GroupJoinRefused   = "group.join-refused"   // to who asked
	GroupBanned        = "group.banned"         // to owner and admins, and to who is banned
	GroupUnbanned      = "group.unbanned"       // likewise

	MessageRecalled = "message.recalled"
	MessageEdited   = "message.edited"
	MessageReacted  = "message.reacted"
	MessageRead     = "message.read"
	MessageDeleted  = "message.deleted" // own devices

	ConversationUpdated = "conversation.updated" // own devices

	WebhookDisabled = "webhook.disabled" // to the owner of the bot
)

// NewNotice returns a notice whose data is written as JSON. data is a struct
// or a map, or nil.
func NewNotice(typ string, c Conversation, from string, data any) (Notice, error) {
	n := Notice{Conversation: c, From: from, Type: typ, Data: json.RawMessage("{}")}
	if data == nil {
		return n, nil
	}
	b, err := JSON(data)
	if err != nil {
		return n, Wrap(Internal, err, "writing a notice")
	}
	if string(b) != "null" { // of a map that is nil
		n.Data = b
	}
	return n, nil
}

// Message returns what n says, at its place. id is its client id.
func (n Notice) Message(id string, at Place) Message {
	data := make(json.RawMessage, 0, len(n.Data)+len(n.Type)+16)
	data = append(data, `{"type":"`...)
	data = append(data, n.Type...)
	data = append(data, '"')
	if len(n.Data) > 2 { // not {}
		data = append(data, ',')
		data = append(data, n.Data[1:]...)
	} else {
		data = append(data, '}')
	}
	return Message{
		ID: at.ID, Conversation: n.Conversation, Time: at.Time, From: n.From, ClientID: id,
		Kind: KindNotice, Data: data,
	}
}

// A Pending is a notice that is written down, with its place, in the
// transaction of the change that it tells of. It is published after that, until
// it is known that it was: as often as that takes, it is the same message.
type Pending struct {
	ID string // client id of the message that it becomes
	Notice
	Place
}

// Stale says what a change makes stale in caches: the members of a group that
// are older than a version, or the relation of a pair that is.
type Stale struct {
	Group   string // or
	Pair    Pair
	Version int64
}
