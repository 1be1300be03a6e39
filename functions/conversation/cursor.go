package conversation

import (
	"encoding/base64"

	"github.com/tidings-im/tidings/shared/im"
)

// A position is where a conversation stands in the list: the pinned ones first,
// then that whose newest message has the greatest id. The zero position
// precedes all.
type position struct {
	pinned bool
	id     string
}

// before reports whether p precedes q.
func (p position) before(q position) bool {
	if p.id == "" || q.id == "" {
		return p.id == "" && q.id != ""
	}
	if p.pinned != q.pinned {
		return p.pinned
	}
	return p.id > q.id
}

// cursor writes p in base64url: a byte that says whether it is pinned, sixteen
// of id. To clients it means nothing.
func (p position) cursor() string {
	b := []byte{0}
	if p.pinned {
		b[0] = 1
	}
	id, ok := im.MessageIDBytes(p.id)
	if !ok { // no id that was stored as one
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(b, id[:]...))
}

// parseCursor reads what cursor wrote. "" is the zero position.
func parseCursor(s string) (position, error) {
	if s == "" {
		return position{}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 17 || b[0] > 1 {
		return position{}, im.Errorf(im.Invalid, `%.40q is not a cursor: use what a page gave as "next"`, s)
	}
	return position{b[0] == 1, im.FormatMessageID([16]byte(b[1:]))}, nil
}
