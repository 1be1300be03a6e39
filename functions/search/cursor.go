package search

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tidings-im/tidings/shared/im"
)

// A cursor is where a search goes on: with what comes after place in the order of
// a window that was found, or, if that has ended, before its beginning.
type cursor struct {
	search   [8]byte  // a hash of what is searched for
	fuzzy    bool     // typos are forgiven
	within   bool     // from, score and place are set
	now      im.Time  // when the search began: recency is counted from there
	to, from im.Place // the window: from the latter on, before the former
	score    float64
	place    im.Place
}

// of returns a hash of what in asks for, but for the cursor and the limit.
func of(in request) (h [8]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %d", in.Query, in.Conversation, in.From, in.Since, in.Until))
	copy(h[:], sum[:])
	return h
}

const (
	flagFuzzy  = 1
	flagWithin = 2

	cursorLen = 8 + 1 + 8 + 2*im.PlaceLen + 8 + im.PlaceLen
)

func (c cursor) String() string {
	b := append(make([]byte, 0, cursorLen), c.search[:]...)
	var flags byte
	if c.fuzzy {
		flags |= flagFuzzy
	}
	if c.within {
		flags |= flagWithin
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(c.now))
	b = c.to.AppendTo(b)
	b = c.from.AppendTo(b)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(c.score))
	b = c.place.AppendTo(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads the cursor of a search.
func parseCursor(s string, search [8]byte) (cursor, error) {
	bad := func(why string) (cursor, error) {
		return cursor{}, im.Errorf(im.Invalid, "%.40q is not a cursor of this search%s", s, why)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorLen || b[8]&^(flagFuzzy|flagWithin) != 0 {
		return bad(": use what a page gave as next")
	}
	c := cursor{search: search, fuzzy: b[8]&flagFuzzy != 0, within: b[8]&flagWithin != 0}
	if [8]byte(b[:8]) != search {
		return bad(": it continues another one, so ask for the same as for the first page")
	}
	var ok [3]bool
	c.now = im.Time(binary.BigEndian.Uint64(b[9:]))
	c.to, ok[0] = im.ReadPlace(b[17:])
	c.from, ok[1] = im.ReadPlace(b[41:])
	c.score = math.Float64frombits(binary.BigEndian.Uint64(b[65:]))
	c.place, ok[2] = im.ReadPlace(b[73:])
	if ok != [3]bool{true, true, true} || c.now < 0 || c.now > im.LastPlace.Time || math.IsNaN(c.score) {
		return bad(": use what a page gave as next")
	}
	return c, nil
}
