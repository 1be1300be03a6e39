package search

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

// A position is where a search goes on: with what comes after a place in the
// order of a window that was found, or, if that has ended, before its beginning.
type position struct {
	Search string         `json:"s"`           // a hash of what is searched for
	Fuzzy  bool           `json:"f,omitempty"` // typos are forgiven
	Now    im.Time        `json:"n"`           // when the search began: recency is counted from there
	To     cursor.Message `json:"t"`           // the window ends before it
	Within *within        `json:"w,omitempty"`
}

// A within is how far the pages of a window have come.
type within struct {
	From  cursor.Message `json:"f"` // the window begins with it
	Score float64        `json:"s"`
	Place cursor.Message `json:"p"`
}

// Valid is that of a cursor.
func (p position) Valid() bool {
	ok := p.Now >= 0 && p.Now <= im.LastPlace.Time && p.To.Valid()
	return ok && (p.Within == nil || p.Within.From.Valid() && p.Within.Place.Valid())
}

// hash returns a hash of what in asks for, but for the cursor and the limit.
func hash(in request) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %d", in.Query, in.Conversation, in.From, in.Since, in.Until))
	return hex.EncodeToString(sum[:8])
}

// begin returns where a page of what in asks for begins.
func begin(in request) (position, error) {
	first := position{Search: hash(in), Now: im.Now(), To: cursor.Message(im.LastPlace)}
	if in.Until > 0 {
		first.To = cursor.Message{Time: in.Until}
	}
	at, err := cursor.Decode(in.Cursor, first)
	if err == nil && at.Search != first.Search {
		err = im.Errorf(im.Invalid, "%.40q is not a cursor of this search: it continues another one, so ask for the same as for the first page", in.Cursor)
	}
	return at, err
}
