package postgres

import (
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// KeyColumns returns keys as arrays, for unnest.
func KeyColumns(keys []im.EntryKey) (users, conversations []string, ids []pgtype.UUID, err error) {
	users, conversations, ids = make([]string, len(keys)), make([]string, len(keys)), make([]pgtype.UUID, len(keys))
	for i, k := range keys {
		if ids[i], err = ParseUUID(k.ID); err != nil {
			return nil, nil, nil, err
		}
		users[i], conversations[i] = k.User, string(k.Conversation)
	}
	return users, conversations, ids, nil
}

// ParseUUID reads the id of a message. "" is NULL.
func ParseUUID(s string) (pgtype.UUID, error) {
	if s == "" {
		return pgtype.UUID{}, nil
	}
	u, ok := im.MessageIDBytes(s)
	if !ok {
		return pgtype.UUID{}, im.Errorf(im.Invalid, "%.40q is not the id of a message", s)
	}
	return pgtype.UUID{Bytes: u, Valid: true}, nil
}

// FormatUUID writes the id of a message. NULL is "".
func FormatUUID(u pgtype.UUID) string {
	if !u.Valid {
		return ""
	}
	return u.String()
}

// ParseUUIDs reads the ids of messages.
func ParseUUIDs(all []string) ([]pgtype.UUID, error) {
	out := make([]pgtype.UUID, len(all))
	for i, s := range all {
		var err error
		if out[i], err = ParseUUID(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}
