package history

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// last is after every message there can be.
var last = im.Place{
	Time: im.TimeOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)),
	ID:   "ffffffff-ffff-ffff-ffff-ffffffffffff",
}

// A cursor is a place, in base64url: eight bytes of time, sixteen of id. To
// clients it means nothing.

func formatCursor(p im.Place) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(p.Time))
	id, err := hex.DecodeString(strings.ReplaceAll(p.ID, "-", ""))
	if err != nil || len(id) != 16 { // no id that was stored as one
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(b, id...))
}

func parseCursor(s string) (im.Place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 24 {
		return im.Place{}, im.Errorf(im.Invalid, "%.40q is not a cursor: use what a page gave as prev or next", s)
	}
	at := im.Time(binary.BigEndian.Uint64(b))
	if at < 0 || at > last.Time {
		return im.Place{}, im.Errorf(im.Invalid, "%.40q is not a cursor: it is of no time", s)
	}
	id := hex.EncodeToString(b[8:])
	return im.Place{Time: at, ID: id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]}, nil
}
