package conversation

import "github.com/tidings-im/tidings/shared/im"

// A position is where a conversation stands in the list: the pinned ones first,
// then that whose newest message has the greatest id. The zero position
// precedes all.
type position struct {
	Pinned bool   `json:"p,omitempty"`
	ID     string `json:"i"`
}

// Valid is that of a cursor.
func (p position) Valid() bool { return im.IsMessageID(p.ID) }

// before reports whether p precedes q.
func (p position) before(q position) bool {
	if p.ID == "" || q.ID == "" {
		return p.ID == "" && q.ID != ""
	}
	if p.Pinned != q.Pinned {
		return p.Pinned
	}
	return p.ID > q.ID
}
