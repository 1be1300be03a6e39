// Package event names the events of Tidings, says what each carries, how it is
// written (CloudEvents 1.0, JSON) and how it is sealed. It does not know how
// events travel.
package event

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// The types of event, each with the type of its data.
const (
	MessageSubmitted = "dev.tidings.message.submitted.v1" // Submitted; gateway → chat-ingest
	MessageAccepted  = "dev.tidings.message.accepted.v1"  // Accepted; on TopicMessages
	InboxAppended    = "dev.tidings.inbox.appended.v1"    // Appended; on TopicDeliveries
	InboxHeads       = "dev.tidings.inbox.heads.v1"       // Heads; gateway → inbox-heads
	ArchiveRead      = "dev.tidings.archive.read.v1"      // ArchiveAsk; API functions → archive-read
	Signal           = "dev.tidings.signal.v1"            // Signalled; gateway → push-fanout → gateway
	Push             = "dev.tidings.push.v1"              // Pushed; push-fanout → gateway
	SessionEnded     = "dev.tidings.session.ended.v1"     // Ended; → gateway
	SecurityRecorded = "dev.tidings.security.recorded.v1" // audit.Record; on TopicAudit
	PresenceChanged  = "dev.tidings.presence.changed.v1"  // Changed; gateway → push-presence
)

// CallType returns the type of the events by which an API function is called.
func CallType(function string) string { return "dev.tidings.call." + function + ".v1" }

// The topics of Kafka.
const (
	TopicMessages    = "tidings.messages"
	TopicDeliveries  = "tidings.deliveries"
	TopicDeadLetters = "tidings.deadletters"
	TopicAudit       = "tidings.audit"
)

// An Event is a CloudEvent of ours: its attributes, the extensions we use and
// its data, which is JSON.
type Event struct {
	ID           string
	Type         string
	Source       string
	Subject      string // what it is about, such as a conversation; may be empty
	Time         im.Time
	PartitionKey string // partitioning extension
	TraceParent  string // distributed tracing extension
	Seal         string // of Sign
	Data         json.RawMessage
}

// New returns an event with a fresh id, of now.
func New(typ, source, key string, data any) (Event, error) {
	b, err := im.JSON(data)
	if err != nil {
		return Event{}, fmt.Errorf("writing the data of a %s: %w", typ, err)
	}
	var id [12]byte
	rand.Read(id[:])
	return Event{
		ID:           hex.EncodeToString(id[:]),
		Type:         typ,
		Source:       source,
		Subject:      key,
		Time:         im.Now(),
		PartitionKey: key,
		Data:         b,
	}, nil
}

// Submitted is what a client sent, and who sent it by which device. The
// gateway writes From and Device from the token of the connection.
type Submitted struct {
	From   string  `json:"from"`
	Device string  `json:"device"`
	At     im.Time `json:"at"` // when the gateway received it; too old is refused
	im.Draft
}

// Placed answers a Submitted: the message is accepted and durable.
type Placed struct {
	ID           string          `json:"id"`
	Conversation im.Conversation `json:"conversation"`
	Time         im.Time         `json:"time"`
}

// Accepted is a message on its way into history and inboxes. Recipients are
// whose inboxes it goes to, the sender's among them; without them it goes to
// the members of its group. The id of the event is the id of the message.
// Quiet, Amended and Former are those of an im.Notice.
type Accepted struct {
	Message    im.Message   `json:"message"`
	Recipients []string     `json:"recipients,omitempty"`
	Quiet      bool         `json:"quiet,omitempty"`
	Amended    []im.Message `json:"amended,omitempty"`
	Former     []string     `json:"former,omitempty"`
}

// Appended says at which seq a message stands in whose inbox. An event names
// at most MaxRecipients; a larger group takes several.
type Appended struct {
	Message json.RawMessage `json:"message"` // an im.Message
	Entries []Recipient     `json:"entries"`
}

// MaxRecipients is the most recipients in one Appended.
const MaxRecipients = 500

// A Recipient is a user and the seq at which a message stands in their inbox.
type Recipient struct {
	User string `json:"user"`
	Seq  int64  `json:"seq"`
}

// Pushed is what a gateway is to write to users it holds connections of.
// Message is null for a signal, whose Frame is written as it is.
type Pushed struct {
	Message json.RawMessage `json:"message,omitempty"`
	Frame   json.RawMessage `json:"frame,omitempty"`
	Except  string          `json:"except,omitempty"` // device that is not written to
	To      []Recipient     `json:"to"`
}

// Signalled is an ephemeral frame on its way: kept nowhere, in no order.
type Signalled struct {
	From         string          `json:"from"`
	Device       string          `json:"device"`
	Conversation im.Conversation `json:"conversation"`
	Frame        json.RawMessage `json:"frame"` // as the recipients are to get it
}

// Ended says that connections are to be closed: those of a session, or one by
// its id. The subject of the event is the user whose they are.
type Ended struct {
	Session string `json:"session,omitempty"`
	Conn    string `json:"conn,omitempty"`
	Reason  string `json:"reason"` // one of the reasons of frame's close codes
}

// Changed says that the first device of a user has connected, or the last one
// has gone. What is true is in the presence; this says that it is worth a look.
type Changed struct {
	User string `json:"user"`
}

// Heads asks for the greatest seq in the inbox of each user.
type Heads struct {
	Users []string `json:"users"`
	Exact bool     `json:"exact,omitempty"` // ask the store, whatever the hints say
}

// HeadsAnswer answers Heads. Users with an empty inbox have 0.
type HeadsAnswer struct {
	Heads map[string]int64 `json:"heads"`
}
