package postgres

import (
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// parseUUID reads the id of a message. "" is NULL.
func parseUUID(s string) (pgtype.UUID, error) {
	if s == "" {
		return pgtype.UUID{}, nil
	}
	u, ok := im.MessageIDBytes(s)
	if !ok {
		return pgtype.UUID{}, im.Errorf(im.Invalid, "%.40q is not the id of a message", s)
	}
	return pgtype.UUID{Bytes: u, Valid: true}, nil
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
