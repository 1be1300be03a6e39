package client

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// A Message is a message of the user's inbox, and where it stands there.
type Message struct {
	Seq int64
	im.Message
}

// A Notice is what a message of im.KindNotice tells: that something has changed.
type Notice struct {
	Type string          // such as im.GroupJoined
	Data json.RawMessage // a JSON object, see docs/protocol.md; "type" is in it, too
}

// Read fills in the data of a notice.
func (n Notice) Read(to any) error {
	if err := json.Unmarshal(n.Data, to); err != nil {
		return fmt.Errorf("reading a notice %s: %w", n.Type, err)
	}
	return nil
}

// NoticeOf returns the notice that a message is, and false if it is none.
func NoticeOf(m im.Message) (Notice, bool) {
	if m.Kind != im.KindNotice {
		return Notice{}, false
	}
	var data struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(m.Data, &data); err != nil || data.Type == "" {
		return Notice{}, false
	}
	return Notice{data.Type, m.Data}, true
}

// An Event is anything but a message that a program may want to know: one of
// Online, Offline, Typing, Signal, Presence, Resent and Rewound. If a program is slower
// than they come, the oldest are dropped.
type Event interface{ event() }

// Online says that the client is connected.
type Online struct {
	User string // id
	Head int64  // greatest seq in the inbox; -1 if the server does not know now
}

// Offline says that the connection was lost and when the client will try again.
type Offline struct {
	Err  error
	Wait time.Duration
}

// Typing says that somebody is writing.
type Typing struct {
	From         string
	Conversation im.Conversation
}

// Signal is what somebody sent that is kept nowhere.
type Signal struct {
	From         string
	Conversation im.Conversation
	Data         json.RawMessage
}

// Presence says that a friend has come or gone. Who is online when the client
// connects it finds out by asking (GET /v1/presence), and so it does when it
// was disconnected meanwhile.
type Presence struct {
	User     string
	Online   bool
	LastSeen im.Time // of who is not online; 0 if it is not known
}

// Resent says what became of a message that was in the Store when the client
// started.
type Resent struct {
	Draft   im.Draft
	Receipt Receipt // if Err is nil
	Err     error
}

// Rewound says that the server's inbox ends before the last message handled
// here, as after it was restored from a backup. The client goes on, and handles
// nothing until the inbox has grown past its cursor. A program that would
// rather start over sets its Store's cursor and connects anew.
type Rewound struct {
	Cursor int64 // seq of the last message handled
	Head   int64 // greatest seq that the server has
}

func (Online) event()   {}
func (Offline) event()  {}
func (Typing) event()   {}
func (Signal) event()   {}
func (Presence) event() {}
func (Resent) event()   {}
func (Rewound) event()  {}

// A StoppedError is why a client stopped for good, when the server asked it to:
// one of the reasons of frame that say so, such as frame.CloseReplaced,
// frame.CloseRevoked or frame.CloseDeleted. Only a person should start it again.
type StoppedError struct {
	Close frame.Close
	Err   error // may be nil
}

func (e *StoppedError) Error() string {
	s := fmt.Sprintf("the server ended this client: %s (%d)", e.Close.Reason, e.Close.Code)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *StoppedError) Unwrap() error { return e.Err }
