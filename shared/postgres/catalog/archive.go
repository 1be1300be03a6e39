package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/messages"
)

// Detached returns the spans that are not all in objects yet, the earliest
// first.
func (db *Store) Detached(ctx context.Context) ([]im.Span, error) {
	rows, err := db.Query(ctx, `SELECT starts, ends, source FROM archives WHERE source IS NOT NULL ORDER BY starts`)
	if err != nil {
		return nil, postgres.Failed(err, "reading what is to be archived")
	}
	spans, err := pgx.CollectRows(rows, scanSpan)
	return spans, postgres.Failed(err, "reading what is to be archived")
}

// NextPart returns the number of the next part of a span, and after which
// message it begins.
func (db *Store) NextPart(ctx context.Context, span im.Span) (number int, after im.Key, err error) {
	rows, err := db.Query(ctx, `
		SELECT part + 1, last_conversation, last_time, last_id FROM archive_groups
		WHERE starts = $1 ORDER BY part DESC, row_group DESC LIMIT 1`, span.Starts.Std())
	if err != nil {
		return 0, after, postgres.Failed(err, "reading how far %s is archived", span.Source)
	}
	var at time.Time
	var id pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&number, &after.Conversation, &at, &id}, func() error {
		after.Place = im.Place{Time: im.TimeOf(at), ID: postgres.FormatUUID(id)}
		return nil
	})
	return number, after, postgres.Failed(err, "reading how far %s is archived", span.Source)
}

// ReadSource returns the messages of a span that follow one, as they are now:
// at most so many, and no more once they hold so many bytes. NotFound: all of it
// is in objects by now.
func (db *Store) ReadSource(ctx context.Context, span im.Span, after im.Key, most, bytes int) (_ []im.Message, err error) {
	id, err := postgres.ParseUUID(after.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true // the nil UUID is before all
	rows, err := db.Query(ctx, `
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
	var found []im.Message
	for size := 0; size < bytes && rows.Next(); {
		m, err := messages.Scan(rows)
		if err != nil {
			return nil, postgres.Failed(err, "reading %s", span.Source)
		}
		size += len(m.Text) + len(m.Data) + 200
		found = append(found, m)
	}
	rows.Close()
	return found, sourceFailed(rows.Err(), span)
}

const undefinedTable = "42P01"

// sourceFailed is postgres.Failed, of the source of a span: that is dropped when all of
// it is in objects.
func sourceFailed(err error, span im.Span) error {
	if postgres.IsState(err, undefinedTable) {
		return im.Wrap(im.NotFound, err, "%s is archived", span.Source)
	}
	return postgres.Failed(err, "reading %s", span.Source)
}

// AddPart notes a part, and what became of those of its messages that were
// recalled, so that this is known here without reading the part. Conflict: there
// is such a part already, or nothing is to be added to its span any more.
func (db *Store) AddPart(ctx context.Context, part im.Part, recalled []im.Message) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
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
			first, err := postgres.ParseUUID(g.First.ID)
			if err != nil {
				return err
			}
			last, err := postgres.ParseUUID(g.Last.ID)
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
			id, err := postgres.ParseUUID(m.ID)
			if err != nil {
				return err
			}
			if err := messages.QueueAmendArchived(batch, m, id); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return postgres.Failed(err, "adding part %d of %s to the archive", part.Number, part.Span)
}

// PartKeys returns the names of the objects of a span.
func (db *Store) PartKeys(ctx context.Context, span im.Time) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT key FROM archive_parts WHERE starts = $1 ORDER BY part`, span.Std())
	if err != nil {
		return nil, postgres.Failed(err, "reading the parts of %s", span)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return keys, postgres.Failed(err, "reading the parts of %s", span)
}

// Archived reports whether the messages of a time are archived.
func (db *Store) Archived(ctx context.Context, at im.Time) (is bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM archives WHERE starts <= $1 AND ends > $1)`, at.Std()).Scan(&is)
	return is, postgres.Failed(err, "asking whether %s is archived", at)
}

// Nearest returns of each of at most limit spans the row group in which the
// messages of a conversation right after a place would be, or backwards those
// right before it, if there is one; spans that are not all in objects are
// returned as they are. edge leaves out spans that end, or backwards start,
// before it does. The nearest span comes first.
func (db *Store) Nearest(ctx context.Context, c im.Conversation, from im.Place, edge im.Time, backwards bool, limit int) ([]im.Piece, error) {
	id, err := postgres.ParseUUID(from.ID)
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
	rows, err := db.Query(ctx, `
		SELECT a.starts, a.ends, coalesce(a.source, ''), coalesce(p.part, 0), coalesce(p.key, ''), coalesce(p.bytes, 0), coalesce(p.footer, 0),
			coalesce(g.row_group, 0), coalesce(g.rows, 0), coalesce(g.first_byte, 0), coalesce(g.bytes, 0),
			coalesce(g.first_conversation, ''), g.first_time, g.first_id, coalesce(g.last_conversation, ''), g.last_time, g.last_id, g.conversations
		FROM archives a
		LEFT JOIN LATERAL (SELECT * FROM archive_groups g WHERE g.starts = a.starts AND `+bounds+` ORDER BY `+order+` LIMIT 1) AS g ON a.source IS NULL
		LEFT JOIN archive_parts p ON p.starts = g.starts AND p.part = g.part
		WHERE `+within+` AND (a.source IS NOT NULL OR `+has+`)
		ORDER BY `+spans+` LIMIT $5`, string(c), from.Time.Std(), id, edge.Std(), limit)
	if err != nil {
		return nil, postgres.Failed(err, "looking for %s in the archive", c)
	}
	pieces, err := pgx.CollectRows(rows, scanPiece)
	return pieces, postgres.Failed(err, "looking for %s in the archive", c)
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
		g.First.Place = im.Place{Time: im.TimeOf(first.Time), ID: postgres.FormatUUID(firstID)}
		g.Last.Place = im.Place{Time: im.TimeOf(last.Time), ID: postgres.FormatUUID(lastID)}
		p.Part.Groups = []im.RowGroup{g}
	}
	return p, err
}

// SourceHistory is History of a span that is not all in objects yet. NotFound:
// it is by now.
func (db *Store) SourceHistory(ctx context.Context, span im.Span, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	messages, err := db.pageOf(ctx, `SELECT `+messages.Columns+` FROM `+pgx.Identifier{span.Source}.Sanitize()+` m`, c, user, from, backwards, limit)
	return messages, sourceFailed(err, span)
}

const lateColumns = `m.conversation, m.time, m.id, m.sender, m.client_id, m.kind, m.text, m.reply_to, m.data, 0, NULL::timestamptz, false`

// LateHistory is History of what came after its time was archived.
func (db *Store) LateHistory(ctx context.Context, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	messages, err := db.pageOf(ctx, `SELECT `+lateColumns+` FROM archive_late m`, c, user, from, backwards, limit)
	return messages, postgres.Failed(err, "reading what came late to %s", c)
}

func (db *Store) pageOf(ctx context.Context, of string, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error) {
	id, err := postgres.ParseUUID(from.ID)
	if err != nil {
		return nil, err
	}
	id.Valid = true
	bounds, order := `(m.time, m.id) > ($2, $3)`, `m.time, m.id`
	if backwards {
		bounds, order = `(m.time, m.id) < ($2, $3)`, `m.time DESC, m.id DESC`
	}
	rows, err := db.Query(ctx, of+`
		WHERE m.conversation = $1 AND `+bounds+`
		  AND NOT EXISTS (SELECT FROM deleted_messages d WHERE d.user_id = $5 AND d.conversation = $1 AND d.message_id = m.id)
		ORDER BY `+order+` LIMIT $4`, string(c), from.Time.Std(), id, limit, user)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, messages.Scan)
}

// ArchiveChanges returns what may have changed of archived messages of a
// conversation, by id: their Text, Data, Revision, Edited and Recalled.
func (db *Store) ArchiveChanges(ctx context.Context, c im.Conversation, places []im.Place) (map[string]im.Message, error) {
	times, ids := make([]time.Time, len(places)), make([]pgtype.UUID, len(places))
	for i, p := range places {
		var err error
		if ids[i], err = postgres.ParseUUID(p.ID); err != nil {
			return nil, err
		}
		times[i] = p.Time.Std()
	}
	rows, err := db.Query(ctx, `
		SELECT x.* FROM unnest($2::timestamptz[], $3::uuid[]) AS k (time, id)
		CROSS JOIN LATERAL (
			SELECT c.id, c.text, c.data, c.revision, c.edited, c.recalled FROM archive_changes c
			WHERE c.conversation = $1 AND c.time = k.time AND c.id = k.id
			LIMIT 1) AS x`, string(c), times, ids)
	if err != nil {
		return nil, postgres.Failed(err, "reading what became of %d archived messages", len(places))
	}
	changes := make(map[string]im.Message)
	var id pgtype.UUID
	var m im.Message
	var data []byte
	var edited *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &m.Text, &data, &m.Revision, &edited, &m.Recalled}, func() error {
		now := m
		now.ID, now.Edited = postgres.FormatUUID(id), postgres.Time(edited)
		if len(data) > 0 {
			now.Data = json.RawMessage(append([]byte(nil), data...))
		}
		changes[now.ID] = now
		return nil
	})
	return changes, postgres.Failed(err, "reading what became of %d archived messages", len(places))
}

// MoveLate moves what is in the default partition though its time is archived
// to what came late, and returns how much that was.
func (db *Store) MoveLate(ctx context.Context) (int64, error) {
	tag, err := db.Exec(ctx, `
		WITH late AS (
			DELETE FROM messages_default m USING archives a WHERE m.time >= a.starts AND m.time < a.ends RETURNING m.*
		), changed AS (
			INSERT INTO archive_changes AS c (conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to)
			SELECT conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to FROM late WHERE revision > 0
			`+messages.NewerChange+`
		)
		INSERT INTO archive_late (`+messages.Appended+`) SELECT `+messages.Appended+` FROM late
		ON CONFLICT DO NOTHING`)
	if err != nil {
		return 0, postgres.Failed(err, "moving what came late")
	}
	return tag.RowsAffected(), nil
}

// Unseen returns at most limit of the messages that came late of which it is
// not known whether the archive has them. Of times that are not all in objects
// there are none among them.
func (db *Store) Unseen(ctx context.Context, limit int) ([]im.Message, error) {
	rows, err := db.Query(ctx, `
		SELECT `+lateColumns+` FROM archive_late m
		WHERE NOT m.missing AND EXISTS (SELECT FROM archives a WHERE a.starts <= m.time AND a.ends > m.time AND a.source IS NULL)
		ORDER BY m.conversation, m.time, m.id LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading what came late")
	}
	messages, err := pgx.CollectRows(rows, messages.Scan)
	return messages, postgres.Failed(err, "reading what came late")
}

// Seen notes of messages that came late whether the archive has them: those
// that it has are deleted.
func (db *Store) Seen(ctx context.Context, messages []im.Message, archived func(im.Message) bool) error {
	batch := &pgx.Batch{}
	for _, m := range messages {
		id, err := postgres.ParseUUID(m.ID)
		if err != nil {
			return err
		}
		query := `UPDATE archive_late SET missing = true WHERE conversation = $1 AND time = $2 AND id = $3`
		if archived(m) {
			query = `DELETE FROM archive_late WHERE conversation = $1 AND time = $2 AND id = $3`
		}
		batch.Queue(query, string(m.Conversation), m.Time.Std(), id)
	}
	return postgres.Failed(db.SendBatch(ctx, batch).Close(), "noting which of %d late messages the archive has", len(messages))
}
