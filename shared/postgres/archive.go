package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// Detached returns the spans that are not all in objects yet, the earliest
// first.
func (db *DB) Detached(ctx context.Context) ([]im.Span, error) {
	rows, err := db.pool.Query(ctx, `SELECT starts, ends, source FROM archives WHERE source IS NOT NULL ORDER BY starts`)
	if err != nil {
		return nil, failed(err, "reading what is to be archived")
	}
	spans, err := pgx.CollectRows(rows, scanSpan)
	return spans, failed(err, "reading what is to be archived")
}

// NextPart returns the number of the next part of a span, and after which
// message it begins.
func (db *DB) NextPart(ctx context.Context, span im.Span) (number int, after im.Key, err error) {
	rows, err := db.pool.Query(ctx, `
		SELECT part + 1, last_conversation, last_time, last_id FROM archive_groups
		WHERE starts = $1 ORDER BY part DESC, row_group DESC LIMIT 1`, span.Starts.Std())
	if err != nil {
		return 0, after, failed(err, "reading how far %s is archived", span.Source)
	}
	var at time.Time
	var id pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&number, &after.Conversation, &at, &id}, func() error {
		after.Place = im.Place{Time: im.TimeOf(at), ID: formatUUID(id)}
		return nil
	})
	return number, after, failed(err, "reading how far %s is archived", span.Source)
}

// ReadSource returns the messages of a span that follow one, as they are now:
// at most so many, and no more once they hold so many bytes. NotFound: all of it
// is in objects by now.
func (db *DB) ReadSource(ctx context.Context, span im.Span, after im.Key, most, bytes int) (_ []im.Message, err error) {
	id, err := parseUUID(after.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true // the nil UUID is before all
	rows, err := db.pool.Query(ctx, `
		SELECT m.conversation, m.time, m.id, m.sender, m.client_id, m.kind,
			CASE WHEN c.id IS NULL THEN m.text ELSE c.text END, m.reply_to, CASE WHEN c.id IS NULL THEN m.data ELSE c.data END,
			coalesce(c.revision, m.revision), CASE WHEN c.id IS NULL THEN m.edited ELSE c.edited END, coalesce(c.recalled, m.recalled)
		FROM `+pgx.Identifier{span.Source}.Sanitize()+` m
		LEFT JOIN archive_changes c ON c.conversation = m.conversation AND c.time = m.time AND c.id = m.id AND c.revision > m.revision
		WHERE (m.conversation, m.time, m.id) > ($1, $2, $3)
		ORDER BY m.conversation, m.time, m.id LIMIT $4`, string(after.Conversation), after.Time.Std(), id, most)
	if err != nil {
		return nil, sourceFailed(err, span)
	}
	defer rows.Close()
	var messages []im.Message
	for size := 0; size < bytes && rows.Next(); {
		m, err := scanMessage(rows)
		if err != nil {
			return nil, failed(err, "reading %s", span.Source)
		}
		size += len(m.Text) + len(m.Data) + 200
		messages = append(messages, m)
	}
	rows.Close()
	return messages, sourceFailed(rows.Err(), span)
}

// sourceFailed is failed, of the source of a span: that is dropped when all of
// it is in objects.
func sourceFailed(err error, span im.Span) error {
	if isState(err, undefinedTable) {
		return im.Wrap(im.NotFound, err, "%s is archived", span.Source)
	}
	return failed(err, "reading %s", span.Source)
}

// AddPart notes a part, and what became of those of its messages that were
// recalled, so that this is known here without reading the part. Conflict: there
// is such a part already, or nothing is to be added to its span any more.
func (db *DB) AddPart(ctx context.Context, part im.Part, recalled []im.Message) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var open bool
		if err := tx.QueryRow(ctx, `SELECT source IS NOT NULL FROM archives WHERE starts = $1 FOR UPDATE`, part.Span.Std()).Scan(&open); err != nil {
			return err
		}
		if !open {
			return im.Errorf(im.Conflict, "all of %s is archived", part.Span)
		}
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO archive_parts (starts, part, key, rows, bytes, footer, checksum) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			part.Span.Std(), part.Number, part.Key, part.Rows, part.Bytes, part.Footer, part.Checksum)
		for _, g := range part.Groups {
			first, err := parseUUID(g.First.ID)
			if err != nil {
				return err
			}
			last, err := parseUUID(g.Last.ID)
			if err != nil {
				return err
			}
			batch.Queue(`
				INSERT INTO archive_groups (starts, part, row_group, rows, first_byte, bytes,
					first_conversation, first_time, first_id, last_conversation, last_time, last_id, conversations)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
				part.Span.Std(), part.Number, g.Number, g.Rows, g.Start, g.Bytes,
				string(g.First.Conversation), g.First.Time.Std(), first, string(g.Last.Conversation), g.Last.Time.Std(), last, g.Conversations)
		}
		for _, m := range recalled {
			id, err := parseUUID(m.ID)
			if err != nil {
				return err
			}
			if err := queueAmendArchived(batch, m, id); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return failed(err, "adding part %d of %s to the archive", part.Number, part.Span)
}

// PartKeys returns the names of the objects of a span.
func (db *DB) PartKeys(ctx context.Context, span im.Time) ([]string, error) {
	rows, err := db.pool.Query(ctx, `SELECT key FROM archive_parts WHERE starts = $1 ORDER BY part`, span.Std())
	if err != nil {
		return nil, failed(err, "reading the parts of %s", span)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return keys, failed(err, "reading the parts of %s", span)
}

// amendArchived notes what became of a message if its time is archived. Its
// first arguments are those of amendment.
const amendArchived = `
	INSERT INTO archive_changes AS c (conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to)
	SELECT $1::text, $2::timestamptz, $3::uuid, $4::text, $5::text::jsonb, $6::int, $7::timestamptz, $8::boolean, $9::text, $10::text, $11::text, $12::uuid
	WHERE EXISTS (SELECT FROM archives a WHERE a.starts <= $2 AND a.ends > $2)
	` + newerChange

const newerChange = `ON CONFLICT (conversation, time, id) DO UPDATE SET
		text = excluded.text, data = excluded.data, revision = excluded.revision, edited = excluded.edited, recalled = excluded.recalled
	WHERE c.revision < excluded.revision`

func queueAmendArchived(batch *pgx.Batch, m im.Message, id pgtype.UUID) error {
	replyTo, err := parseUUID(m.ReplyTo)
	if err != nil {
		return err
	}
	batch.Queue(amendArchived, append(amendment(m, id), m.From, m.ClientID, m.Kind, replyTo)...)
	return nil
}

// Archived reports whether the messages of a time are archived.
func (db *DB) Archived(ctx context.Context, at im.Time) (is bool, err error) {
	err = db.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM archives WHERE starts <= $1 AND ends > $1)`, at.Std()).Scan(&is)
	return is, failed(err, "asking whether %s is archived", at)
}

// Nearest returns of each of at most limit spans the row group in which the
// messages of a conversation right after a place would be, or backwards those
// right before it, if there is one; spans that are not all in objects are
// returned as they are. edge leaves out spans that end, or backwards start,
// before it does. The nearest span comes first.
func (db *DB) Nearest(ctx context.Context, c im.Conversation, from im.Place, edge im.Time, backwards bool, limit int) ([]im.Piece, error) {
	id, err := parseUUID(from.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true
	bounds, order, within, spans, has := `(g.last_conversation, g.last_time, g.last_id) > ($1, $2, $3)`,
		`g.last_conversation, g.last_time, g.last_id`, `a.ends > $4`, `a.starts`, `g.first_conversation <= $1`
	if backwards {
		bounds, order, within, spans, has = `(g.first_conversation, g.first_time, g.first_id) < ($1, $2, $3)`,
			`g.first_conversation DESC, g.first_time DESC, g.first_id DESC`, `a.starts < $4`, `a.starts DESC`, `g.last_conversation >= $1`
	}
	rows, err := db.pool.Query(ctx, `
		SELECT a.starts, a.ends, coalesce(a.source, ''), coalesce(p.part, 0), coalesce(p.key, ''), coalesce(p.bytes, 0), coalesce(p.footer, 0),
			coalesce(g.row_group, 0), coalesce(g.rows, 0), coalesce(g.first_byte, 0), coalesce(g.bytes, 0),
			coalesce(g.first_conversation, ''), g.first_time, g.first_id, coalesce(g.last_conversation, ''), g.last_time, g.last_id, g.conversations
		FROM archives a
		LEFT JOIN LATERAL (SELECT * FROM archive_groups g WHERE g.starts = a.starts AND `+bounds+` ORDER BY `+order+` LIMIT 1) AS g ON a.source IS NULL
		LEFT JOIN archive_parts p ON p.starts = g.starts AND p.part = g.part
		WHERE `+within+` AND (a.source IS NOT NULL OR `+has+`)
		ORDER BY `+spans+` LIMIT $5`, string(c), from.Time.Std(), id, edge.Std(), limit)
	if err != nil {
		return nil, failed(err, "looking for %s in the archive", c)
	}
	pieces, err := pgx.CollectRows(rows, scanPiece)
	return pieces, failed(err, "looking for %s in the archive", c)
}

func scanPiece(row pgx.CollectableRow) (p im.Piece, err error) {
	var starts, ends time.Time
	var first, last pgtype.Timestamptz
	var firstID, lastID pgtype.UUID
	var g im.RowGroup
	err = row.Scan(&starts, &ends, &p.Source, &p.Part.Number, &p.Part.Key, &p.Part.Bytes, &p.Part.Footer,
		&g.Number, &g.Rows, &g.Start, &g.Bytes,
		&g.First.Conversation, &first, &firstID, &g.Last.Conversation, &last, &lastID, &g.Conversations)
	p.Starts, p.Ends = im.TimeOf(starts), im.TimeOf(ends)
	p.Part.Span = p.Starts
	if p.Source == "" {
		g.First.Place = im.Place{Time: im.TimeOf(first.Time), ID: formatUUID(firstID)}
		g.Last.Place = im.Place{Time: im.TimeOf(last.Time), ID: formatUUID(lastID)}
		p.Part.Groups = []im.RowGroup{g}
	}
	return p, err
}

// SourceHistory is History of a span that is not all in objects yet. NotFound:
// it is by now.
func (db *DB) SourceHistory(ctx context.Context, span im.Span, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	messages, err := db.pageOf(ctx, `SELECT `+messageColumns+` FROM `+pgx.Identifier{span.Source}.Sanitize()+` m`, c, user, from, backwards, limit)
	return messages, sourceFailed(err, span)
}

const lateColumns = `m.conversation, m.time, m.id, m.sender, m.client_id, m.kind, m.text, m.reply_to, m.data, 0, NULL::timestamptz, false`

// LateHistory is History of what came after its time was archived.
func (db *DB) LateHistory(ctx context.Context, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	messages, err := db.pageOf(ctx, `SELECT `+lateColumns+` FROM archive_late m`, c, user, from, backwards, limit)
	return messages, failed(err, "reading what came late to %s", c)
}

func (db *DB) pageOf(ctx context.Context, of string, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	id, err := parseUUID(from.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true
	bounds, order := `(m.time, m.id) > ($2, $3)`, `m.time, m.id`
	if backwards {
		bounds, order = `(m.time, m.id) < ($2, $3)`, `m.time DESC, m.id DESC`
	}
	rows, err := db.pool.Query(ctx, of+`
		WHERE m.conversation = $1 AND `+bounds+`
		  AND NOT EXISTS (SELECT FROM deleted_messages d WHERE d.user_id = $5 AND d.conversation = $1 AND d.message_id = m.id)
		ORDER BY `+order+` LIMIT $4`, string(c), from.Time.Std(), id, limit, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanMessage)
}

// ArchiveChanges returns what may have changed of archived messages of a
// conversation, by id: their Text, Data, Revision, Edited and Recalled.
func (db *DB) ArchiveChanges(ctx context.Context, c im.Conversation, places []im.Place) (map[string]im.Message, error) {
	times, ids := make([]time.Time, len(places)), make([]pgtype.UUID, len(places))
	for i, p := range places {
		var err error
		if ids[i], err = parseUUID(p.ID); err != nil {
			return nil, err
		}
		times[i] = p.Time.Std()
	}
	rows, err := db.pool.Query(ctx, `
		SELECT x.* FROM unnest($2::timestamptz[], $3::uuid[]) AS k (time, id)
		CROSS JOIN LATERAL (
			SELECT c.id, c.text, c.data, c.revision, c.edited, c.recalled FROM archive_changes c
			WHERE c.conversation = $1 AND c.time = k.time AND c.id = k.id
			LIMIT 1) AS x`, string(c), times, ids)
	if err != nil {
		return nil, failed(err, "reading what became of %d archived messages", len(places))
	}
	changes := make(map[string]im.Message)
	var id pgtype.UUID
	var m im.Message
	var data []byte
	var edited *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &m.Text, &data, &m.Revision, &edited, &m.Recalled}, func() error {
		now := m
		now.ID, now.Edited = formatUUID(id), orZero(edited)
		if len(data) > 0 {
			now.Data = json.RawMessage(append([]byte(nil), data...))
		}
		changes[now.ID] = now
		return nil
	})
	return changes, failed(err, "reading what became of %d archived messages", len(places))
}

// LockArchived keeps others from changing an archived message until the
// transaction ends, and returns it as it is now.
func (tx *Tx) LockArchived(ctx context.Context, m im.Message) (im.Message, error) {
	// There is no row to lock, and a row for each that somebody reacts to would be
	// one too many.
	if _, err := tx.tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "archived message "+m.ID); err != nil {
		return m, failed(err, "locking message %s", m.ID)
	}
	id, err := parseUUID(m.ID)
	if err != nil {
		return m, err
	}
	rows, err := tx.tx.Query(ctx, `
		SELECT text, data, revision, edited, recalled FROM archive_changes
		WHERE conversation = $1 AND time = $2 AND id = $3 AND revision > $4`, string(m.Conversation), m.Time.Std(), id, m.Revision)
	if err != nil {
		return m, failed(err, "reading what became of message %s", m.ID)
	}
	var data []byte
	var edited *time.Time
	_, err = pgx.ForEachRow(rows, []any{&m.Text, &data, &m.Revision, &edited, &m.Recalled}, func() error {
		m.Data, m.Edited = nil, orZero(edited)
		if len(data) > 0 {
			m.Data = json.RawMessage(append([]byte(nil), data...))
		}
		return nil
	})
	return m, failed(err, "reading what became of message %s", m.ID)
}

// MoveLate moves what is in the default partition though its time is archived
// to what came late, and returns how much that was.
func (db *DB) MoveLate(ctx context.Context) (int64, error) {
	tag, err := db.pool.Exec(ctx, `
		WITH late AS (
			DELETE FROM messages_default m USING archives a WHERE m.time >= a.starts AND m.time < a.ends RETURNING m.*
		), changed AS (
			INSERT INTO archive_changes AS c (conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to)
			SELECT conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to FROM late WHERE revision > 0
			`+newerChange+`
		)
		INSERT INTO archive_late (`+appended+`) SELECT `+appended+` FROM late
		ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, failed(err, "moving what came late")
	}
	return tag.RowsAffected(), nil
}

// Unseen returns at most limit of the messages that came late of which it is
// not known whether the archive has them. Of times that are not all in objects
// there are none among them.
func (db *DB) Unseen(ctx context.Context, limit int) ([]im.Message, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT `+lateColumns+` FROM archive_late m
		WHERE NOT m.missing AND EXISTS (SELECT FROM archives a WHERE a.starts <= m.time AND a.ends > m.time AND a.source IS NULL)
		ORDER BY m.conversation, m.time, m.id LIMIT $1`, limit)
	if err != nil {
		return nil, failed(err, "reading what came late")
	}
	messages, err := pgx.CollectRows(rows, scanMessage)
	return messages, failed(err, "reading what came late")
}

// Seen notes of messages that came late whether the archive has them: those
// that it has are deleted.
func (db *DB) Seen(ctx context.Context, messages []im.Message, archived func(im.Message) bool) error {
	batch := &pgx.Batch{}
	for _, m := range messages {
		id, err := parseUUID(m.ID)
		if err != nil {
			return err
		}
		query := `UPDATE archive_late SET missing = true WHERE conversation = $1 AND time = $2 AND id = $3`
		if archived(m) {
			query = `DELETE FROM archive_late WHERE conversation = $1 AND time = $2 AND id = $3`
		}
		batch.Queue(query, string(m.Conversation), m.Time.Std(), id)
	}
	return failed(db.pool.SendBatch(ctx, batch).Close(), "noting which of %d late messages the archive has", len(messages))
}

// Walk returns after which user a walk through all of them goes on, and where
// it is to go on the next time.
func (db *DB) Walk(ctx context.Context, name string, limit int) (users []string, err error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id FROM users WHERE id > coalesce((SELECT after FROM walks WHERE name = $1), '') ORDER BY id LIMIT $2`, name, limit)
	if err != nil {
		return nil, failed(err, "walking through users for %s", name)
	}
	users, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return users, failed(err, "walking through users for %s", name)
}

// Walked notes up to which user a walk has come; "" begins it anew.
func (db *DB) Walked(ctx context.Context, name, user string) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO walks (name, after) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET after = excluded.after`, name, user)
	return failed(err, "noting how far %s has come", name)
}
