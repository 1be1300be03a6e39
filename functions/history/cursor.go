package history

import (
	"encoding/base64"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

func formatCursor(p im.Place) string { return cursor.Encode(cursor.Message(p)) }

// parseCursor reads a cursor, also one that was written before shared/cursor
// was: a client may keep one for as long as it likes, to see what was said since.
func parseCursor(s string) (im.Place, error) {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(s); err == nil && len(b) == im.PlaceLen {
		if p, ok := im.ReadPlace(b); ok {
			return p, nil
		}
	}
	p, err := cursor.Decode(s, cursor.Message{})
	return im.Place(p), err
}
