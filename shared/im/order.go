package im

import (
	"encoding/binary"
	"time"
)

// LastPlace is after every message there can be.
var LastPlace = Place{
	Time: TimeOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)),
	ID:   "ffffffff-ffff-ffff-ffff-ffffffffffff",
}

// PlaceLen is how many bytes AppendTo appends.
const PlaceLen = 24

// AppendTo appends p as cursors hold it: eight bytes of time, big endian, and
// sixteen of id, which are zero if the id is none.
func (p Place) AppendTo(b []byte) []byte {
	id, _ := MessageIDBytes(p.ID)
	return append(binary.BigEndian.AppendUint64(b, uint64(p.Time)), id[:]...)
}

// ReadPlace reads the first PlaceLen bytes of b, as AppendTo appends them; false
// if the place is of no time.
func ReadPlace(b []byte) (Place, bool) {
	at := Time(binary.BigEndian.Uint64(b))
	return Place{Time: at, ID: FormatMessageID([16]byte(b[8:PlaceLen]))}, at >= 0 && at <= LastPlace.Time
}
