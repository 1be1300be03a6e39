package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// AppendHistory adds messages to the history of their conversations, all or
// none of them. Adding one twice keeps the first. Invalid means that one of
// them cannot be kept, whichever it is.
func (db *DB) AppendHistory(ctx context.Context, messages []im.Message) error {
	n := len(messages)
	if n == 0 {
		return nil
	}
	// In one order, so that no two statements wait for each other's rows.
	sorted := slices.Clone(messages)
	slices.SortFunc(sorted, func(a, b im.Message) int {
		return cmp.Or(cmp.Compare(a.Conversation, b.Conversation), cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID))
	})
	var (
		conversation = make([]string, n)
		at           = make([]time.Time, n)
		id           = make([]pgtype.UUID, n)
		sender       = make([]string, n)
		clientID     = make([]string, n)
		kind         = make([]string, n)
		text         = make([]string, n)
		replyTo      = make([]pgtype.UUID, n)
		data         = make([]pgtype.Text, n)
	)
	for i, m := range sorted {
		var err error
		if id[i], err = parseUUID(m.ID); err != nil {
			return err
		}
		if !id[i].Valid {
			return im.Errorf(im.Invalid, "a message has no id")
		}
		if replyTo[i], err = parseUUID(m.ReplyTo); err != nil {
			return err
		}
		conversation[i], at[i], sender[i] = string(m.Conversation), m.Time.Std(), m.From
		clientID[i], kind[i], text[i] = m.ClientID, m.Kind, m.Text
		data[i] = pgtype.Text{String: string(m.Data), Valid: len(m.Data) > 0}
	}
	_, err := db.pool.Exec(ctx, `
		INSERT INTO messages (conversation, time, id, sender, client_id, kind, text, reply_to, data)
		SELECT c, t, i, s, k, d, x, r, j::jsonb
		FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[])
		     AS m (c, t, i, s, k, d, x, r, j)
		ON CONFLICT DO NOTHING`,
		conversation, at, id, sender, clientID, kind, text, replyTo, data)
	return failed(err, "adding %d messages to history", n)
}

// History returns at most limit messages of a conversation: those right after
// from, oldest first, or backwards those right before it, newest first.
func (db *DB) History(ctx context.Context, c im.Conversation, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	id, err := parseUUID(from.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true // the nil UUID is before all
	// The bound on time alone is what lets PostgreSQL leave partitions out: it
	// does not look into the row comparison for that.
	query := `
		SELECT conversation, time, id, sender, client_id, kind, text, reply_to, data FROM messages
		WHERE conversation = $1 AND time >= $2 AND (time, id) > ($2, $3)
		ORDER BY time, id LIMIT $4`
	if backwards {
		query = `
		SELECT conversation, time, id, sender, client_id, kind, text, reply_to, data FROM messages
		WHERE conversation = $1 AND time <= $2 AND (time, id) < ($2, $3)
		ORDER BY time DESC, id DESC LIMIT $4`
	}
	rows, err := db.pool.Query(ctx, query, string(c), from.Time.Std(), id, limit)
	if err != nil {
		return nil, failed(err, "reading the history of %s", c)
	}
	messages, err := pgx.CollectRows(rows, scanMessage)
	return messages, failed(err, "reading the history of %s", c)
}

func scanMessage(row pgx.CollectableRow) (im.Message, error) {
	var m im.Message
	var at time.Time
	var id, replyTo pgtype.UUID
	err := row.Scan(&m.Conversation, &at, &id, &m.From, &m.ClientID, &m.Kind, &m.Text, &replyTo, (*[]byte)(&m.Data))
	m.Time, m.ID, m.ReplyTo = im.TimeOf(at), formatUUID(id), formatUUID(replyTo)
	if len(m.Data) == 0 {
		m.Data = json.RawMessage(nil)
	}
	return m, err
}
