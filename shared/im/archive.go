package im

// A Span is a stretch of time whose messages have left the history for the
// archive: from Starts up to, and without, Ends.
type Span struct {
	Starts, Ends Time
	Source       string // table that holds its messages until all are in objects; "" is none
}

// A Part is an object of the archive: messages of a span, in the order of
// conversation, time, id.
type Part struct {
	Span     Time // when its span starts
	Number   int  // counts the parts of the span from 0
	Key      string
	Rows     int
	Bytes    int64
	Footer   int64  // byte at which its metadata begin
	Checksum []byte // of its messages
	Groups   []RowGroup
}

// A RowGroup is a piece of a part that is read at once.
type RowGroup struct {
	Number        int // counts those of the part from 0
	Rows          int
	Start, Bytes  int64 // where it is in the object
	First, Last   Key
	Conversations []byte // a filter of those that are in it
}

// A Key is where a message stands in a part.
type Key struct {
	Conversation Conversation
	Place
}

// Key returns where m stands in a part.
func (m Message) Key() Key { return Key{m.Conversation, m.Place()} }

// Less reports whether k comes before l.
func (k Key) Less(l Key) bool {
	if k.Conversation != l.Conversation {
		return k.Conversation < l.Conversation
	}
	return k.Place.Less(l.Place)
}

// A Piece is what of a span is nearest to a place: a row group of a part, which
// has no other then, or all of its source.
type Piece struct {
	Span
	Part Part
}
