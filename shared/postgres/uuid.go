package postgres

import (
	"encoding/hex"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// parseUUID reads the id of a message. "" is NULL.
func parseUUID(s string) (pgtype.UUID, error) {
	if s == "" {
		return pgtype.UUID{}, nil
	}
	if !im.IsMessageID(s) {
		return pgtype.UUID{}, im.Errorf(im.Invalid, "%.40q is not the id of a message", s)
	}
	u := pgtype.UUID{Valid: true}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if s[i] != '-' {
			digits[n] = s[i]
			n++
		}
	}
	_, err := hex.Decode(u.Bytes[:], digits[:])
	return u, err
}

// formatUUID writes the id of a message. NULL is "".
func formatUUID(u pgtype.UUID) string {
	if !u.Valid {
		return ""
	}
	return u.String()
}

// parseUUIDs reads the ids of messages.
func parseUUIDs(all []string) ([]pgtype.UUID, error) {
	out := make([]pgtype.UUID, len(all))
	for i, s := range all {
		var err error
		if out[i], err = parseUUID(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}
