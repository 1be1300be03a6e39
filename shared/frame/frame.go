// Package frame is what is said on the socket: one JSON object per text frame,
// told apart by its "type". docs/protocol.md is its manual for authors of
// clients. It does not know how frames travel.
package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidings-im/tidings/shared/im"
)

// Subprotocol is the version of all this, asked for in Sec-WebSocket-Protocol.
const Subprotocol = "tidings.v1"

// BearerPrefix precedes an access token offered as a second subprotocol, the
// only place where a browser can put one that is not the URL.
const BearerPrefix = "bearer."

// The types of frame that a client sends.
const (
	Send   = "send"   // a message: answered by Accepted or Refused with its id
	Typing = "typing" // ephemeral; also what the others get
	Signal = "signal" // ephemeral, with data, such as call signalling; also what the others get
	Token  = "token"  // a fresh access token in place of the one about to expire; answered by Token
	Ping   = "ping"   // for clients that cannot send WebSocket pings; answered by Pong
)

// The types of frame that a server sends.
const (
	Welcome  = "welcome"
	Accepted = "accepted"
	Refused  = "refused"
	Message  = "message"
	Behind   = "behind"
	Pong     = "pong"
	Presence = "presence" // a friend has come or gone; ephemeral
	Bye      = "bye"      // last frame before the server closes: whether and when to come back
	Error    = "error"    // the frame before made no sense; the connection goes on
)

// A FromClient is any frame that a client sends. Which fields count depends on
// the type.
type FromClient struct {
	Type string `json:"type"`
	im.Draft
	Data  json.RawMessage `json:"data,omitempty"`
	Token string          `json:"token,omitempty"`
}

// MaxSignal is the most bytes of data in a signal.
const MaxSignal = 16 << 10

// Parse reads a frame of a client. It checks the form of the frame, not
// whether what it asks is allowed. What it returns beside an error has ID, To
// and Type as far as they could be read, so that the answer can name them.
//
// The data of a signal is I-JSON (RFC 7493), which all parsers read: it travels
// in one batch with what others send.
func Parse(b []byte) (FromClient, error) {
	var f FromClient
	if !utf8.Valid(b) {
		return f, im.Errorf(im.Invalid, "the frame is not UTF-8")
	}
	var read struct {
		FromClient
		Others jsontext.Value `json:",embed"` // fields of later versions
	}
	err := jsonv2.Unmarshal(b, &read)
	if err != nil {
		// It takes a quarter of the time of the older encoding/json. That one
		// says better what is wrong, and goes on past it to the id of the message.
		if older := json.Unmarshal(b, &f); older != nil {
			err = older
		}
		return f, &im.Error{Kind: im.Invalid, Msg: "the frame is not a JSON object of the form that its type asks for: " + reason(err), Err: err}
	}
	f = read.FromClient
	if name := misspelt(read.Others); name != "" {
		return f, im.Errorf(im.Invalid, "the field %q is there in other letters: names are written in lower case", name)
	}
	switch f.Type {
	case Send, Ping:
	case Typing, Signal:
		if f.To == "" {
			return f, im.Errorf(im.Invalid, `a frame of type %q needs "to"`, f.Type)
		}
		if f.Type == Signal && len(f.Data) == 0 {
			return f, im.Errorf(im.Invalid, `a signal needs "data"`)
		}
		if f.Type == Signal && !jsontext.Value(f.Data).IsValid() {
			return f, im.Errorf(im.Invalid, "the data of a signal is not I-JSON: an object has a name twice, or a string half a surrogate")
		}
		if len(f.Data) > MaxSignal {
			return f, im.Errorf(im.TooLarge, "the data of a signal has %d bytes; %d are the most", len(f.Data), MaxSignal)
		}
	case Token:
		if f.Token == "" {
			return f, im.Errorf(im.Invalid, `a frame of type "token" needs "token"`)
		}
	case "":
		return f, im.Errorf(im.Invalid, `the frame has no "type"`)
	default:
		return f, im.Errorf(im.Invalid, "%.40q is not a type of frame: there are send, typing, signal, token, ping", f.Type)
	}
	return f, nil
}

// The names of the fields of a frame.
var names = []string{"type", "id", "to", "kind", "text", "file", "reply_to", "data", "token"}

// misspelt returns the name of a frame's field that stands among others, an
// object or nothing, in other letters; or "".
func misspelt(others jsontext.Value) string {
	if len(others) == 0 {
		return ""
	}
	var object map[string]jsontext.Value
	if err := jsonv2.Unmarshal(others, &object); err != nil {
		return ""
	}
	for other := range object {
		for _, name := range names {
			if strings.EqualFold(other, name) {
				return name
			}
		}
	}
	return ""
}

// reason returns what is wrong with the JSON of a client, without the names of
// Go's packages and types.
func reason(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return fmt.Sprintf("the field %.80q is there twice", syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not I-JSON (RFC 7493), at byte %d", syntax.ByteOffset)
	}
	s := strings.TrimPrefix(err.Error(), "json: ")
	if i := strings.Index(s, " into Go "); i >= 0 {
		s = s[:i]
	}
	return s
}

// A FromServer is any frame that a server sends, as a client reads it.
type FromServer struct {
	Type string `json:"type"`

	// Welcome, Presence
	User string `json:"user,omitempty"`

	// Presence
	Online   bool    `json:"online,omitempty"`
	LastSeen im.Time `json:"last_seen,omitempty"` // of who is not online, if it is known

	// Welcome
	Device   string `json:"device,omitempty"`
	Conn     string `json:"conn,omitempty"`
	IdleSecs int    `json:"idle_seconds,omitempty"` // the server closes after this long without a frame or pong

	// Welcome, Behind: the greatest seq in the user's inbox. -1 in Welcome: not known now, sync to find out.
	Head int64 `json:"head,omitempty"`

	// Accepted, Refused: the client's id of the message
	ID string `json:"id,omitempty"`

	// Accepted
	MessageID    string          `json:"message_id,omitempty"`
	Conversation im.Conversation `json:"conversation,omitempty"` // also Typing, Signal
	Time         im.Time         `json:"time,omitempty"`         // also Welcome: the server's clock

	// Refused, Error
	Kind         im.Kind `json:"kind,omitempty"`
	Detail       string  `json:"detail,omitempty"`
	RetryAfterMS int64   `json:"retry_after_ms,omitempty"` // also Bye: how long to wait before coming back

	// Message
	Seq     int64           `json:"seq,omitempty"`
	Message json.RawMessage `json:"message,omitempty"` // an im.Message

	// Typing, Signal
	From string          `json:"from,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`

	// Token, Welcome: when the access token expires
	Expires im.Time `json:"expires,omitempty"`

	// Bye
	Code      int    `json:"code,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Reconnect string `json:"reconnect,omitempty"` // one of ReconnectYes, ReconnectRefresh, ReconnectNo
}

// Encode returns f as it goes on the wire.
func (f FromServer) Encode() []byte {
	b, err := im.JSON(f)
	if err != nil { // only raw JSON of ours that is not JSON gets here
		return f.broken()
	}
	return b
}

func (f FromServer) broken() []byte {
	return []byte(`{"type":"error","kind":"internal","detail":"the server could not write a frame"}`)
}

// AppendMessage appends a Message frame: message must be JSON.
func AppendMessage(b []byte, seq int64, message []byte) []byte {
	b = append(b, `{"type":"message","seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, `,"message":`...)
	b = append(b, message...)
	return append(b, '}')
}

// AppendAccepted appends an Accepted frame.
func AppendAccepted(b []byte, id, messageID string, c im.Conversation, at im.Time) []byte {
	b = append(b, `{"type":"accepted","id":`...)
	quoted, _ := im.JSON(id) // a string can always be written
	b = append(b, quoted...)
	b = append(b, `,"message_id":"`...)
	b = append(b, messageID...)
	b = append(b, `","conversation":"`...)
	b = append(b, c...)
	b = append(b, `","time":"`...)
	text, _ := at.MarshalText() // never fails
	b = append(b, text...)
	return append(b, `"}`...)
}

// AppendPresence appends a Presence frame.
func AppendPresence(b []byte, p im.Presence) []byte {
	b = append(b, `{"type":"presence","user":"`...)
	b = append(b, p.User...)
	b = append(b, `","online":`...)
	b = strconv.AppendBool(b, p.Online)
	if p.LastSeen != 0 {
		b = append(b, `,"last_seen":"`...)
		b, _ = p.LastSeen.AppendText(b) // never fails
		b = append(b, '"')
	}
	return append(b, '}')
}

// NewRefused returns the frame that refuses the message with this id of the client.
func NewRefused(id string, p im.Problem, retryAfter time.Duration) FromServer {
	return FromServer{Type: Refused, ID: id, Kind: p.Kind, Detail: p.Detail, RetryAfterMS: retryAfter.Milliseconds()}
}
