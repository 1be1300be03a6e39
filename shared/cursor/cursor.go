// Package cursor writes and reads cursors: where a page of a list ended, as
// JSON in base64url (RFC 4648, 5). To clients a cursor means nothing. Anybody
// can write one, so it grants nothing. The package does not know which lists
// there are.
package cursor

import (
	"encoding/base64"
	"encoding/json"

	"github.com/tidings-im/tidings/shared/im"
)

const maxLen = 1024 // bytes of a cursor

// A position is where a page may have ended.
type position interface {
	// Valid reports whether there can be such a position.
	Valid() bool
}

// Encode returns the cursor of a position, of which JSON can write all.
func Encode[T position](at T) string {
	b, err := im.JSON(at)
	if err != nil {
		panic(err) // T is no position
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Decode returns the position whose cursor s is, or first if s is empty.
// Invalid: Encode wrote s of no valid T.
func Decode[T position](s string, first T) (T, error) {
	if s == "" {
		return first, nil
	}
	var at T
	if len(s) <= maxLen {
		b, err := base64.RawURLEncoding.DecodeString(s)
		// What is written otherwise (unknown fields, spaces, trailing bits) is not ours.
		if err == nil && json.Unmarshal(b, &at) == nil && at.Valid() && Encode(at) == s {
			return at, nil
		}
	}
	return first, im.Errorf(im.Invalid, "%.40q is not a cursor of this list: use what a page of it gave, or begin without one", s)
}

// Cut returns at most limit of list, of which one more than that was asked for,
// and the last of them if others follow.
func Cut[T any](list []T, limit int) (page []T, last *T) {
	if len(list) <= limit {
		return list, nil
	}
	return list[:limit], &list[limit-1]
}

// A User is a position among users, or groups, in the order of a time and an
// id.
type User struct {
	Time im.Time `json:"t"`
	ID   string  `json:"i"`
}

// Valid is that of a position.
func (u User) Valid() bool { return validTime(u.Time) && im.IsID(u.ID) }

// A Message is a position among messages. Without an id it is before all
// messages of its time.
type Message struct {
	Time im.Time `json:"t"`
	ID   string  `json:"i"`
}

// Valid is that of a position.
func (m Message) Valid() bool { return validTime(m.Time) && (m.ID == "" || im.IsMessageID(m.ID)) }

func validTime(t im.Time) bool { return t >= 0 && t <= im.LastPlace.Time }
