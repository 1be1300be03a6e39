package search

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// last is after every message there can be.
var last = im.Place{
	Time: im.TimeOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)),
	ID:   "ffffffff-ffff-ffff-ffff-ffffffffffff",
}

// A cursor is where a search goes on: with what comes after last in the order of
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

	cursorLen = 8 + 1 + 8 + 24 + 24 + 8 + 24
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
	b = appendPlace(b, c.to)
	b = appendPlace(b, c.from)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(c.score))
	b = appendPlace(b, c.place)
	return base64.RawURLEncoding.EncodeToString(b)
}

func appendPlace(b []byte, p im.Place) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.Time))
	var id [16]byte
	hex.Decode(id[:], []byte(strings.ReplaceAll(p.ID, "-", ""))) // of the zero Place it is zero
	return append(b, id[:]...)
}

func readPlace(b []byte) (im.Place, bool) {
	at := im.Time(binary.BigEndian.Uint64(b))
	id := hex.EncodeToString(b[8:24])
	return im.Place{Time: at, ID: id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]}, at >= 0 && at <= last.Time
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
	c.to, ok[0] = readPlace(b[17:])
	c.from, ok[1] = readPlace(b[41:])
	c.score = math.Float64frombits(binary.BigEndian.Uint64(b[65:]))
	c.place, ok[2] = readPlace(b[73:])
	if ok != [3]bool{true, true, true} || c.now < 0 || c.now > last.Time || math.IsNaN(c.score) {
		return bad(": use what a page gave as next")
	}
	return c, nil
}
