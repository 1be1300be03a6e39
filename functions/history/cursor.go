package history

import (
	"encoding/base64"

	"github.com/tidings-im/tidings/shared/im"
)

// A cursor is a place (im.Place.AppendTo), in base64url. To clients it means
// nothing.

func formatCursor(p im.Place) string {
	if !im.IsMessageID(p.ID) { // no id that was stored as one
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(p.AppendTo(nil))
}

func parseCursor(s string) (im.Place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != im.PlaceLen {
		return im.Place{}, im.Errorf(im.Invalid, "%.40q is not a cursor: use what a page gave as prev or next", s)
	}
	p, ok := im.ReadPlace(b)
	if !ok {
		return im.Place{}, im.Errorf(im.Invalid, "%.40q is not a cursor: it is of no time", s)
	}
	return p, nil
}
