package messages

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// AppendHistory adds messages to the history of their conversations, all or
// none of them. Adding one twice keeps the first. Invalid means that one of
// them cannot be kept, whichever it is.
func (db *Store) AppendHistory(ctx context.Context, messages []im.Message) error {
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
		if id[i], err = postgres.ParseUUID(m.ID); err != nil {
			return err
		}
		if !id[i].Valid {
			return im.Errorf(im.Invalid, "a message has no id")
		}
		if replyTo[i], err = postgres.ParseUUID(m.ReplyTo); err != nil {
			return err
		}
		conversation[i], at[i], sender[i] = string(m.Conversation), m.Time.Std(), m.From
		clientID[i], kind[i], text[i] = m.ClientID, m.Kind, m.Text
		data[i] = pgtype.Text{String: string(m.Data), Valid: len(m.Data) > 0}
	}
	err := db.listDirect(ctx, sorted)
	if err != nil {
		return err
	}
	args := []any{conversation, at, id, sender, clientID, kind, text, replyTo, data}
	if aged(sorted) {
		err = db.appendLate(ctx, args)
	} else {
		_, err = db.Exec(ctx, `INSERT INTO messages (`+Appended+`) SELECT * FROM `+given+` ON CONFLICT DO NOTHING`, args...)
	}
	if err != nil {
		return postgres.Failed(err, "adding %d messages to history", n)
	}
	return db.indexLate(ctx, sorted)
}

const (
	Appended = `conversation, time, id, sender, client_id, kind, text, reply_to, data`
	given    = `(
		SELECT c, t, i, s, k, d, x, r, j::jsonb
		FROM unnest($1::text[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[])
		     AS m (c, t, i, s, k, d, x, r, j)) AS m (` + Appended + `)`
)

// ArchiveAge is the least age of what may be archived: what is younger is
// added to history without asking.
const ArchiveAge = 31 * 24 * time.Hour

// aged reports whether any of messages may be of a time that is archived.
func aged(messages []im.Message) bool {
	young := im.TimeOf(time.Now().Add(-ArchiveAge + 24*time.Hour)) // clocks differ
	return slices.ContainsFunc(messages, func(m im.Message) bool { return m.Time < young })
}

// appendLate adds messages to history, but those whose time is archived to what
// came late: the archive may have them, and is asked later.
func (db *Store) appendLate(ctx context.Context, args []any) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// Before it is asked what is archived: nothing is detached after that.
		if _, err := tx.Exec(ctx, `LOCK TABLE ONLY messages IN ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			WITH m AS MATERIALIZED (
				SELECT m.*, EXISTS (SELECT FROM archives a WHERE a.starts <= m.time AND a.ends > m.time) AS late FROM `+given+`
			), late AS (
				INSERT INTO archive_late (`+Appended+`) SELECT `+Appended+` FROM m WHERE late ON CONFLICT DO NOTHING
			)
			INSERT INTO messages (`+Appended+`) SELECT `+Appended+` FROM m WHERE NOT late ON CONFLICT DO NOTHING`, args...)
		return err
	})
}

// AmendHistory replaces what may change of messages in those that history has
// with a lesser revision, all or none of them. To do it again changes nothing.
func (db *Store) AmendHistory(ctx context.Context, messages []im.Message) error {
	if len(messages) == 0 {
		return nil
	}
	// In one order, so that no two of these wait for each other's rows.
	sorted := slices.Clone(messages)
	slices.SortStableFunc(sorted, func(a, b im.Message) int {
		return cmp.Or(cmp.Compare(a.Conversation, b.Conversation), cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID))
	})
	batch := &pgx.Batch{} // which is one transaction
	for _, m := range sorted {
		id, err := postgres.ParseUUID(m.ID)
		if err != nil {
			return err
		}
		batch.Queue(amendMessage+` AND revision < $6`, amendment(m, id)...)
		if aged([]im.Message{m}) {
			if err := QueueAmendArchived(batch, m, id); err != nil {
				return err
			}
		}
		if m.Recalled {
			// If it was already, nobody has reacted since.
			for _, query := range clearReactions {
				batch.Queue(query, string(m.Conversation), id)
			}
		}
	}
	for _, m := range sorted { // after all messages: what is inserted late goes to the index in this order, too
		id, err := postgres.ParseUUID(m.ID)
		if err != nil {
			return err
		}
		queueIndex(batch, m, id)
	}
	return postgres.Failed(db.SendBatch(ctx, batch).Close(), "changing %d messages", len(messages))
}

// ChangedMessages returns those messages that were changed after they were
// sent, as they are now. The keys name no user. Of those whose time is archived
// it knows what was recalled, or changed since.
func (db *Store) ChangedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Message, error) {
	_, conversations, ids, err := postgres.KeyColumns(keys)
	if err != nil {
		return nil, err
	}
	times := make([]pgtype.Timestamptz, len(keys))
	for i, k := range keys {
		at, ok := im.TimeOfMessageID(k.ID)
		times[i] = pgtype.Timestamptz{Time: at.Std(), Valid: ok}
	}
	// Written so, PostgreSQL has no other way than the primary key.
	rows, err := db.Query(ctx, `
		SELECT x.* FROM unnest($1::text[], $2::timestamptz[], $3::uuid[]) AS k (conversation, time, id)
		CROSS JOIN LATERAL (
			SELECT `+Columns+` FROM messages m
			WHERE m.conversation = k.conversation AND m.time = k.time AND m.id = k.id AND m.revision > 0
			LIMIT 1) AS x
		UNION ALL
		SELECT x.* FROM unnest($1::text[], $2::timestamptz[], $3::uuid[]) AS k (conversation, time, id)
		CROSS JOIN LATERAL (
			SELECT `+Columns+` FROM archive_changes m
			WHERE m.conversation = k.conversation AND m.time = k.time AND m.id = k.id
			LIMIT 1) AS x`, conversations, times, ids)
	if err != nil {
		return nil, postgres.Failed(err, "reading what became of %d messages", len(keys))
	}
	messages, err := pgx.CollectRows(rows, Scan)
	changed := make(map[im.EntryKey]im.Message, len(messages))
	for _, m := range messages {
		changed[im.EntryKey{ID: m.ID, Conversation: m.Conversation}] = m
	}
	return changed, postgres.Failed(err, "reading what became of %d messages", len(keys))
}

// DeletedMessages returns those of keys whose user has deleted the message for
// themselves.
func (db *Store) DeletedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error) {
	users, conversations, ids, err := postgres.KeyColumns(keys)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, `
		SELECT k.n FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS k (user_id, conversation, message_id, n)
		CROSS JOIN LATERAL (
			SELECT FROM deleted_messages d
			WHERE d.user_id = k.user_id AND d.conversation = k.conversation AND d.message_id = k.message_id
			LIMIT 1) AS x`, users, conversations, ids)
	if err != nil {
		return nil, postgres.Failed(err, "reading which of %d messages are deleted", len(keys))
	}
	deleted := make(map[im.EntryKey]bool)
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&n}, func() error {
		deleted[keys[n-1]] = true
		return nil
	})
	return deleted, postgres.Failed(err, "reading which of %d messages are deleted", len(keys))
}

// Columns are what scanMessage reads, of messages m.
const Columns = `m.conversation, m.time, m.id, m.sender, m.client_id, m.kind, m.text, m.reply_to, m.data, m.revision, m.edited, m.recalled`

// History returns at most limit messages of a conversation, as they are now and
// without those that user has deleted for themselves: those right after from,
// oldest first, or backwards those right before it, newest first; fewer if these
// are more than im.MaxPage bytes as written. rest tells whether others of these,
// or between them, may be in the archive. What leaves history meanwhile is in what
// is returned, in the archive, or in both.
func (db *Store) History(ctx context.Context, c im.Conversation, user string, from im.Place, backwards bool, limit int) (messages []im.Message, rest im.Rest, err error) {
	id, err := postgres.ParseUUID(from.ID)
	if err != nil {
		return nil, rest, err
	}
	id.Valid = true // the nil UUID is before all
	var border *time.Time
	batch := &pgx.Batch{}
	batch.Queue(historyQuery(backwards), string(c), from.Time.Std(), id, limit, user).Query(func(rows pgx.Rows) (err error) {
		messages, rest.Full, err = Collect(rows, im.MaxPage)
		return err
	})
	// After the messages were read: what they do not hold any more is known to be
	// archived by then.
	batch.Queue(borderQuery(backwards), from.Time.Std()).QueryRow(func(row pgx.Row) error { return row.Scan(&border) })
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return nil, rest, postgres.Failed(err, "reading the history of %s", c)
	}
	if border != nil {
		at, n := im.TimeOf(*border), len(messages)
		rest.Archived = n < limit && !rest.Full || backwards && messages[n-1].Time < at || !backwards && messages[n-1].Time >= at
	}
	return messages, rest, nil
}

// Collect returns the first messages of rows: as many as have so many bytes as
// written, one at least. What follows is read and kept by nobody; full reports
// that there was any.
func Collect(rows pgx.Rows, bytes int) (messages []im.Message, full bool, err error) {
	defer rows.Close()
	for size := 0; rows.Next(); {
		m, err := Scan(rows)
		if err != nil {
			return nil, false, err
		}
		if size += m.WrittenLen(); size > bytes && len(messages) > 0 {
			full = true
			break
		}
		messages = append(messages, m)
	}
	rows.Close()
	return messages, full, rows.Err()
}

// HasWritten reports whether a user wrote one of the last messages of a
// conversation, of so many, that are not in the archive.
func (db *Store) HasWritten(ctx context.Context, c im.Conversation, user string, of int) (has bool, err error) {
	err = db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM (
			SELECT sender FROM messages WHERE conversation = $1 ORDER BY time DESC, id DESC LIMIT $3) AS m
			WHERE sender = $2)`, string(c), user, of).Scan(&has)
	return has, postgres.Failed(err, "asking whether %s has written in %s", user, c)
}

// borderQuery returns the query of the time at which the archive begins, read
// from a place on: none if it does not.
func borderQuery(backwards bool) string {
	if backwards {
		return `SELECT max(ends) FROM archives WHERE starts <= $1`
	}
	return `SELECT min(starts) FROM archives WHERE ends > $1`
}

// historyQuery returns the query of History. The bound on time alone is what
// lets PostgreSQL leave partitions out: it does not look into the row
// comparison for that.
func historyQuery(backwards bool) string {
	bounds, order := `m.time >= $2 AND (m.time, m.id) > ($2, $3)`, `m.time, m.id`
	if backwards {
		bounds, order = `m.time <= $2 AND (m.time, m.id) < ($2, $3)`, `m.time DESC, m.id DESC`
	}
	return `
		SELECT ` + Columns + ` FROM messages m
		WHERE m.conversation = $1 AND ` + bounds + `
		  AND NOT EXISTS (SELECT FROM deleted_messages d WHERE d.user_id = $5 AND d.conversation = $1 AND d.message_id = m.id)
		ORDER BY ` + order + ` LIMIT $4`
}

// Reactions returns the reactions of messages of a conversation by message, the
// first that was put on it first, and marks those of user. Messages without
// any are absent.
func (db *Store) Reactions(ctx context.Context, c im.Conversation, user string, messages []string) (map[string][]im.Reaction, error) {
	ids, err := postgres.ParseUUIDs(messages)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, `
		SELECT n.message_id, n.emoji, n.count,
		       EXISTS (SELECT FROM reactions r
		               WHERE r.conversation = n.conversation AND r.message_id = n.message_id AND r.user_id = $3 AND r.emoji = n.emoji)
		FROM reaction_counts n WHERE n.conversation = $1 AND n.message_id = ANY ($2)
		ORDER BY n.message_id, n.since, n.emoji`, string(c), ids, user)
	if err != nil {
		return nil, postgres.Failed(err, "reading the reactions of %d messages", len(messages))
	}
	found := make(map[string][]im.Reaction)
	var id pgtype.UUID
	var r im.Reaction
	_, err = pgx.ForEachRow(rows, []any{&id, &r.Emoji, &r.Count, &r.Mine}, func() error {
		found[postgres.FormatUUID(id)] = append(found[postgres.FormatUUID(id)], r)
		return nil
	})
	return found, postgres.Failed(err, "reading the reactions of %d messages", len(messages))
}

// Scan reads a row of Columns.
func Scan(row pgx.CollectableRow) (im.Message, error) {
	var m im.Message
	var at time.Time
	var edited *time.Time
	var id, replyTo pgtype.UUID
	err := row.Scan(&m.Conversation, &at, &id, &m.From, &m.ClientID, &m.Kind, &m.Text, &replyTo, (*[]byte)(&m.Data), &m.Revision, &edited, &m.Recalled)
	m.Time, m.ID, m.ReplyTo, m.Edited = im.TimeOf(at), postgres.FormatUUID(id), postgres.FormatUUID(replyTo), postgres.Time(edited)
	if len(m.Data) == 0 {
		m.Data = json.RawMessage(nil)
	}
	return m, err
}
