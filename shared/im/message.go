// Package im is the vocabulary of Tidings: what a message, a user and a group
// are, and the rules that can be checked by looking at them alone. It knows of
// no store, no transport and no encoding but JSON and that of places, and imports
// nothing but the standard library.
package im

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Limits of what a client may send. Those of a deployment may be lower.
const (
	MaxText     = 16 << 10 // bytes of text in a message
	MaxClientID = 64       // bytes of a client's own id of a message
	MaxGroup    = 2000     // members of a group
	MaxFrame    = 64 << 10 // bytes of a frame on the socket
)

// The kinds of message.
const (
	KindText   = "text"   // Text is what was said
	KindFile   = "file"   // Data is a FileData; Text is what was said of it, and may be ""
	KindNotice = "notice" // Data says what happened; only the system sends these

	// KindDeleted is what a user's own inbox and history have in place of a
	// message that they deleted for themselves.
	KindDeleted = "deleted"
)

// A Message is one thing said in a conversation. (Conversation, Time, ID) is
// its place in the order of the conversation.
type Message struct {
	ID           string          `json:"id"` // UUIDv7 made of Time
	Conversation Conversation    `json:"conversation"`
	Time         Time            `json:"time"` // unique in the conversation while Redis keeps its memory
	From         string          `json:"from"`
	ClientID     string          `json:"client_id"` // the sender's own id for it
	Kind         string          `json:"kind"`
	Text         string          `json:"text,omitempty"`
	ReplyTo      string          `json:"reply_to,omitempty"` // id of a message in the same conversation
	Data         json.RawMessage `json:"data,omitempty"`

	// Of a message that was changed after it was sent:
	Revision int  `json:"revision,omitempty"` // counts its changes; the greater is the newer
	Edited   Time `json:"edited,omitempty"`   // when it was last edited
	Recalled bool `json:"recalled,omitempty"` // it is empty now

	Reactions []Reaction `json:"reactions,omitempty"` // in answers of message-history only
}

// A Reaction is an emoji that users have put on a message.
type Reaction struct {
	Emoji string `json:"emoji"`
	Count int    `json:"count"`
	Mine  bool   `json:"mine,omitempty"` // the caller is one of them
}

// A Draft is a message as its sender wrote it, before it has a place.
type Draft struct {
	ClientID string `json:"id"`
	To       string `json:"to"`             // "u:<user>", or a conversation
	Kind     string `json:"kind,omitempty"` // "" is KindFile with a File, and else KindText
	Text     string `json:"text"`
	File     string `json:"file,omitempty"` // id of the File that it carries
	ReplyTo  string `json:"reply_to,omitempty"`
}

// Check reports what in d could never be accepted. from is the sender.
func (d Draft) Check(from string) error {
	switch {
	case d.ClientID == "":
		return Errorf(Invalid, `a message needs an "id": your own, new for each message and the same when you send it again`)
	case len(d.ClientID) > MaxClientID:
		return Errorf(Invalid, "the id of a message is %d bytes at most", MaxClientID)
	case !printable(d.ClientID):
		return Errorf(Invalid, "the id of a message is printable ASCII without spaces")
	case d.KindOf() != KindText && d.KindOf() != KindFile:
		return Errorf(Invalid, "%.40q is not a kind of message that can be sent: use %q or %q", d.Kind, KindText, KindFile)
	case d.KindOf() == KindFile && !IsID(d.File):
		return Errorf(Invalid, `a message of kind %q needs a "file": the id of one that is complete`, KindFile)
	case d.KindOf() == KindText && d.File != "":
		return Errorf(Invalid, `a message with a "file" is of kind %q`, KindFile)
	case d.ReplyTo != "" && !IsMessageID(d.ReplyTo):
		return Errorf(Invalid, `"reply_to" is not the id of a message`)
	}
	if d.Text != "" || d.KindOf() != KindFile {
		if err := CheckText(d.Text); err != nil {
			return err
		}
	}
	_, err := d.Conversation(from)
	return err
}

// KindOf returns the kind of message that d becomes.
func (d Draft) KindOf() string {
	switch {
	case d.Kind != "":
		return d.Kind
	case d.File != "":
		return KindFile
	}
	return KindText
}

// CheckText reports whether s could be the text of a message.
func CheckText(s string) error {
	switch {
	case s == "":
		return Errorf(Invalid, `a message needs a "text"`)
	case len(s) > MaxText:
		return Errorf(TooLarge, "the text has %d bytes; %d are the most", len(s), MaxText)
	case !utf8.ValidString(s):
		return Errorf(Invalid, "the text is not UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return Errorf(Invalid, "the text holds a NUL character, which cannot be stored")
	}
	return nil
}

// Conversation returns where d is to be said, if from is who says it.
func (d Draft) Conversation(from string) (Conversation, error) {
	if user, ok := strings.CutPrefix(d.To, "u:"); ok {
		switch {
		case !IsID(user):
			return "", Errorf(Invalid, `"to" names no user: after u: comes a user's id`)
		case user == from:
			return "", Errorf(Invalid, "a message to yourself goes nowhere: name another user or a group")
		}
		return Direct(from, user), nil
	}
	c := Conversation(d.To)
	if c.Check() != nil {
		return "", Errorf(Invalid, `"to" is u:<user>, g:<group> or a conversation, not %.80q`, d.To)
	}
	if c.Group() == "" && c.Peer(from) == "" {
		return "", Errorf(Denied, "you are not in this conversation")
	}
	return c, nil
}

// Digest returns 72 bits of a hash of what d says and where, by which a second
// message under the id of another is told from a repeat of it.
func (d Draft) Digest(c Conversation) string {
	said := string(c) + "\x00" + d.KindOf() + "\x00" + d.ReplyTo + "\x00" + d.Text
	if d.File != "" {
		said = d.File + "\x00" + said
	}
	h := sha256.Sum256([]byte(said))
	return base64.RawURLEncoding.EncodeToString(h[:9])
}

// revisionDeleted is greater than that of any other change, so that none brings
// back what a user has deleted for themselves.
const revisionDeleted = 1 << 30

// Deleted returns what is left of m in the inbox of who has deleted it.
func (m Message) Deleted() Message {
	return Message{
		ID: m.ID, Conversation: m.Conversation, Time: m.Time, From: m.From,
		Kind: KindDeleted, Revision: revisionDeleted,
	}
}

// Recipients returns who has m in their inbox, if m is in a direct
// conversation: its two users, the sender among them. For a group it is nil.
func (m Message) Recipients() []string {
	if a, b := m.Conversation.Users(); a != "" {
		return []string{a, b}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Place is where a message stands in the order of its conversation. The zero
// Place is before all, and a cursor for paging history.
type Place struct {
	Time Time   `json:"time"`
	ID   string `json:"id"`
}

// A Rest is what there may be of a conversation beside a page of its history.
type Rest struct {
	Archived bool // others that belong to the page may be in the archive
	Full     bool // others follow, which would make it too large
}

// Place returns where m stands.
func (m Message) Place() Place { return Place{m.Time, m.ID} }

// Less reports whether p comes before q.
func (p Place) Less(q Place) bool {
	if p.Time != q.Time {
		return p.Time < q.Time
	}
	return p.ID < q.ID
}

// An Entry is a message in a user's inbox. Seq counts 1, 2, 3 … per user, over
// all conversations, without holes.
type Entry struct {
	User    string          `json:"user"`
	Seq     int64           `json:"seq"`
	ID      string          `json:"id"`      // of the message
	Message json.RawMessage `json:"message"` // a Message

	Conversation Conversation `json:"conversation"`
	Class        Class        `json:"class"`
	Revision     int          `json:"revision"` // of the message
}

// A Class is what an entry is to its user's list of conversations.
type Class int8

// The classes of entry.
const (
	ClassQuiet  Class = 0 // nothing: a quiet notice, a deleted message
	ClassShown  Class = 1 // brings its conversation to the top: one's own message, a notice
	ClassUnread Class = 2 // that too, and is unread until it is read: a message of another
)

// ClassOf returns the class of a message in the inbox of user. quiet is of its
// notice.
func ClassOf(kind, from, user string, recalled, quiet bool) Class {
	switch {
	case quiet || kind == KindDeleted:
		return ClassQuiet
	case kind == KindNotice || from == user || recalled:
		return ClassShown
	}
	return ClassUnread
}

// An EntryKey names an entry by what it holds: the message of that id in that
// conversation, which is where it always is.
type EntryKey struct {
	User         string
	ID           string
	Conversation Conversation
}

// Key returns the name of e.
func (e Entry) Key() EntryKey { return EntryKey{e.User, e.ID, e.Conversation} }
