package messages

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Speaker returns what a user is in a group, and the members as far as it takes
// to judge whether that user may speak. Both may change at any time.
func (tx Tx) Speaker(ctx context.Context, group, user string) (im.Role, im.Members, error) {
	role, members := im.RoleNone, im.Members{}
	var until *time.Time
	err := tx.QueryRow(ctx, `
		SELECT m.role, m.muted_until, g.muted, g.version FROM group_members m JOIN groups g ON g.id = m.group_id
		WHERE m.group_id = $1 AND m.user_id = $2`, group, user).Scan(&role, &until, &members.Muted, &members.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		return im.RoleNone, im.Members{}, nil
	}
	if err != nil {
		return im.RoleNone, im.Members{}, postgres.Failed(err, "asking what %s is in group %s", user, group)
	}
	members.Users = []string{user}
	if im.May(role, im.SpeakWhileMuted) == nil {
		members.Staff = members.Users
	}
	members.MutedUntil = map[string]im.Time{user: postgres.Time(until)}
	return role, members, nil
}

const lockMessage = `
	SELECT ` + Columns + ` FROM messages m
	WHERE m.conversation = $1 AND m.time = $2 AND m.id = $3 FOR NO KEY UPDATE`

// LockMessage returns a message of a conversation as it is now, and keeps
// others from changing it until the transaction ends. It reports false if the
// history has none of that id.
func (tx Tx) LockMessage(ctx context.Context, c im.Conversation, id string) (im.Message, bool, error) {
	at, ok := im.TimeOfMessageID(id)
	if !ok {
		return im.Message{}, false, nil
	}
	uuid, err := postgres.ParseUUID(id)
	if err != nil {
		return im.Message{}, false, err
	}
	rows, err := tx.Query(ctx, lockMessage, string(c), at.Std(), uuid)
	if err != nil {
		return im.Message{}, false, postgres.Failed(err, "reading message %s", id)
	}
	m, err := pgx.CollectExactlyOneRow(rows, Scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Message{}, false, nil
	}
	return m, err == nil, postgres.Failed(err, "reading message %s", id)
}

// Former returns at most limit users who have left a group and are not back,
// those first who left last.
func (tx Tx) Former(ctx context.Context, group string, limit int) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT user_id FROM group_departures WHERE group_id = $1 ORDER BY version DESC LIMIT $2`, group, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading who has left group %s", group)
	}
	users, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return users, postgres.Failed(err, "reading who has left group %s", group)
}

// AmendMessage writes what may change of a message: its text, data, revision,
// when it was edited and that it was recalled. It was locked before, in history
// or as one that is archived.
func (tx Tx) AmendMessage(ctx context.Context, m im.Message) error {
	id, err := postgres.ParseUUID(m.ID)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(amendMessage, amendment(m, id)...)
	if aged([]im.Message{m}) {
		if err := QueueAmendArchived(batch, m, id); err != nil {
			return err
		}
	}
	queueIndex(batch, m, id)
	return postgres.Failed(tx.SendBatch(ctx, batch).Close(), "changing message %s", m.ID)
}

const amendMessage = `
	UPDATE messages SET text = $4, data = $5::text::jsonb, revision = $6, edited = $7, recalled = $8
	WHERE conversation = $1 AND time = $2 AND id = $3`

// amendment returns the arguments of amendMessage.
func amendment(m im.Message, id pgtype.UUID) []any {
	return []any{
		string(m.Conversation), m.Time.Std(), id,
		m.Text, pgtype.Text{String: string(m.Data), Valid: len(m.Data) > 0}, m.Revision,
		postgres.NullTime(m.Edited), m.Recalled,
	}
}

// Emoji returns the different emoji on a message.
func (tx Tx) Emoji(ctx context.Context, c im.Conversation, message string) ([]string, error) {
	id, err := postgres.ParseUUID(message)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT emoji FROM reaction_counts WHERE conversation = $1 AND message_id = $2`, string(c), id)
	if err != nil {
		return nil, postgres.Failed(err, "reading the emoji on message %s", message)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return all, postgres.Failed(err, "reading the emoji on message %s", message)
}

// React puts an emoji of user on a message that was locked before, or takes it
// off, and reports whether that changed anything.
func (tx Tx) React(ctx context.Context, c im.Conversation, message, user, emoji string, on bool) (changed bool, err error) {
	id, err := postgres.ParseUUID(message)
	if err != nil {
		return false, err
	}
	query := `
		WITH put AS (
		    INSERT INTO reactions (conversation, message_id, user_id, emoji) VALUES ($1, $2, $3, $4)
		    ON CONFLICT DO NOTHING RETURNING emoji
		), counted AS (
		    INSERT INTO reaction_counts AS n (conversation, message_id, emoji, count) SELECT $1, $2, emoji, 1 FROM put
		    ON CONFLICT (conversation, message_id, emoji) DO UPDATE SET count = n.count + 1
		)
		SELECT EXISTS (SELECT FROM put)`
	if !on {
		query = `
		WITH taken AS (
		    DELETE FROM reactions WHERE conversation = $1 AND message_id = $2 AND user_id = $3 AND emoji = $4 RETURNING emoji
		), last AS (
		    DELETE FROM reaction_counts n USING taken
		    WHERE n.conversation = $1 AND n.message_id = $2 AND n.emoji = taken.emoji AND n.count = 1
		), counted AS (
		    UPDATE reaction_counts n SET count = n.count - 1 FROM taken
		    WHERE n.conversation = $1 AND n.message_id = $2 AND n.emoji = taken.emoji AND n.count > 1
		)
		SELECT EXISTS (SELECT FROM taken)`
	}
	err = tx.QueryRow(ctx, query, string(c), id, user, emoji).Scan(&changed)
	return changed, postgres.Failed(err, "changing the reactions to message %s", message)
}

var clearReactions = []string{
	`DELETE FROM reaction_counts WHERE conversation = $1 AND message_id = $2`,
	`DELETE FROM reactions WHERE conversation = $1 AND message_id = $2`,
}

// ClearReactions takes all reactions off a message that was locked before.
func (tx Tx) ClearReactions(ctx context.Context, c im.Conversation, message string) error {
	id, err := postgres.ParseUUID(message)
	if err != nil {
		return err
	}
	for _, query := range clearReactions {
		if _, err := tx.Exec(ctx, query, string(c), id); err != nil {
			return postgres.Failed(err, "clearing the reactions to message %s", message)
		}
	}
	return nil
}

// Messages returns those messages of a conversation that its history has, in
// its order.
func (tx Tx) Messages(ctx context.Context, c im.Conversation, ids []string) ([]im.Message, error) {
	uuids, err := postgres.ParseUUIDs(ids)
	if err != nil {
		return nil, err
	}
	times := make([]pgtype.Timestamptz, len(ids))
	for i, id := range ids {
		at, ok := im.TimeOfMessageID(id)
		times[i] = pgtype.Timestamptz{Time: at.Std(), Valid: ok}
	}
	rows, err := tx.Query(ctx, `
		SELECT `+Columns+` FROM unnest($2::timestamptz[], $3::uuid[]) AS w (time, id)
		JOIN messages m ON m.conversation = $1 AND m.time = w.time AND m.id = w.id
		ORDER BY m.time, m.id`, string(c), times, uuids)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d messages", len(ids))
	}
	messages, err := pgx.CollectRows(rows, Scan)
	return messages, postgres.Failed(err, "reading %d messages", len(ids))
}

// DeleteMessages leaves messages of a conversation out of the history that user
// reads, and returns which of them were not left out before, sorted. Nobody
// else is concerned.
func (tx Tx) DeleteMessages(ctx context.Context, user string, c im.Conversation, messages []string) ([]string, error) {
	ids, err := postgres.ParseUUIDs(slices.Sorted(slices.Values(messages))) // in one order, so that no two wait for each other
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO deleted_messages (user_id, conversation, message_id) SELECT $1, $2, m FROM unnest($3::uuid[]) AS m
		ON CONFLICT DO NOTHING RETURNING message_id`, user, string(c), ids)
	if err != nil {
		return nil, postgres.Failed(err, "deleting %d messages for %s", len(messages), user)
	}
	fresh, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id pgtype.UUID
		err := row.Scan(&id)
		return postgres.FormatUUID(id), err
	})
	slices.Sort(fresh)
	return fresh, postgres.Failed(err, "deleting %d messages for %s", len(messages), user)
}
