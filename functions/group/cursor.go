package group

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/tidings-im/tidings/shared/im"
)

// A cursor says where a list goes on: numbers and the id of who or what the
// page before ended with. To clients it means nothing.
type cursor struct {
	numbers []int64
	id      string
}

func (c cursor) String() string {
	var b strings.Builder
	for _, n := range c.numbers {
		b.WriteString(strconv.FormatInt(n, 36) + ".")
	}
	return base64.RawURLEncoding.EncodeToString([]byte(b.String() + c.id))
}

// parseCursor reads a cursor of so many numbers, none of which is negative.
func parseCursor(s string, numbers int) (cursor, error) {
	bad := im.Errorf(im.Invalid, `%.40q is not a cursor of this list: use what a page gave as "next"`, s)
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return cursor{}, bad
	}
	parts := strings.Split(string(b), ".")
	if len(parts) != numbers+1 || !im.IsID(parts[numbers]) {
		return cursor{}, bad
	}
	c := cursor{id: parts[numbers]}
	for _, p := range parts[:numbers] {
		n, err := strconv.ParseInt(p, 36, 64)
		if err != nil || n < 0 || n > maxNumber {
			return cursor{}, bad
		}
		c.numbers = append(c.numbers, n)
	}
	return c, nil
}

// maxNumber is above every time and version there can be, and within what a
// database takes as either.
const maxNumber = 253_402_300_799_999_999 // the end of 9999 in microseconds

// A page says how many to return, and from where on.
type page struct {
	Limit  int    `json:"limit"`
	Cursor string `json:"cursor"`
}

// cut returns at most limit of list, of which one more than that was asked for,
// and the last of them if others follow.
func cut[T any](list []T, limit int) (page []T, last *T) {
	if len(list) <= limit {
		return list, nil
	}
	return list[:limit], &list[limit-1]
}
