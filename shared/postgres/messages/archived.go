package messages

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// amendArchived notes what became of a message if its time is archived. Its
// first arguments are those of amendment.
const amendArchived = `
	INSERT INTO archive_changes AS c (conversation, time, id, text, data, revision, edited, recalled, sender, client_id, kind, reply_to)
	SELECT $1::text, $2::timestamptz, $3::uuid, $4::text, $5::text::jsonb, $6::int, $7::timestamptz, $8::boolean, $9::text, $10::text, $11::text, $12::uuid
	WHERE EXISTS (SELECT FROM archives a WHERE a.starts <= $2 AND a.ends > $2)
	` + NewerChange

// NewerChange is what an INSERT of archive_changes AS c ends with, so that the
// greater revision stays.
const NewerChange = `ON CONFLICT (conversation, time, id) DO UPDATE SET
		text = excluded.text, data = excluded.data, revision = excluded.revision, edited = excluded.edited, recalled = excluded.recalled
	WHERE c.revision < excluded.revision`

// QueueAmendArchived notes what became of a message, by its id, if its time is
// archived.
func QueueAmendArchived(batch *pgx.Batch, m im.Message, id pgtype.UUID) error {
	replyTo, err := postgres.ParseUUID(m.ReplyTo)
	if err != nil {
		return err
	}
	batch.Queue(amendArchived, append(amendment(m, id), m.From, m.ClientID, m.Kind, replyTo)...)
	return nil
}

// LockArchived keeps others from changing an archived message until the
// transaction ends, and returns it as it is now.
func (tx Tx) LockArchived(ctx context.Context, m im.Message) (im.Message, error) {
	// There is no row to lock, and a row for each that somebody reacts to would be
	// one too many.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "archived message "+m.ID); err != nil {
		return m, postgres.Failed(err, "locking message %s", m.ID)
	}
	id, err := postgres.ParseUUID(m.ID)
	if err != nil {
		return m, err
	}
	rows, err := tx.Query(ctx, `
		SELECT text, data, revision, edited, recalled FROM archive_changes
		WHERE conversation = $1 AND time = $2 AND id = $3 AND revision > $4`, string(m.Conversation), m.Time.Std(), id, m.Revision)
	if err != nil {
		return m, postgres.Failed(err, "reading what became of message %s", m.ID)
	}
	var data []byte
	var edited *time.Time
	_, err = pgx.ForEachRow(rows, []any{&m.Text, &data, &m.Revision, &edited, &m.Recalled}, func() error {
		m.Data, m.Edited = nil, postgres.Time(edited)
		if len(data) > 0 {
			m.Data = json.RawMessage(append([]byte(nil), data...))
		}
		return nil
	})
	return m, postgres.Failed(err, "reading what became of message %s", m.ID)
}
