package conversations

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// ConversationStates returns what a user has done to conversations. Those to
// which nothing was done are left out.
func (db *Store) ConversationStates(ctx context.Context, user string, of []im.Conversation) (map[im.Conversation]im.ConversationState, error) {
	rows, err := db.Query(ctx, `
		SELECT conversation, read_id, pinned, muted, hidden_id FROM conversation_states
		WHERE user_id = $1 AND conversation = ANY ($2::text[])`, user, of)
	if err != nil {
		return nil, postgres.Failed(err, "reading what %s did to %d conversations", user, len(of))
	}
	states := make(map[im.Conversation]im.ConversationState)
	var c im.Conversation
	var s im.ConversationState
	var read, hidden pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&c, &read, &s.Pinned, &s.Muted, &hidden}, func() error {
		s.Read, s.Hidden = postgres.FormatUUID(read), postgres.FormatUUID(hidden)
		states[c] = s
		return nil
	})
	return states, postgres.Failed(err, "reading what %s did to %d conversations", user, len(of))
}

// MarkRead notes that a user has read a conversation up to a message, and
// returns up to which one they have now: it never goes back. raised reports
// whether it was less before.
func (tx Tx) MarkRead(ctx context.Context, user string, c im.Conversation, id string) (mark string, raised bool, err error) {
	u, err := postgres.ParseUUID(id)
	if err != nil {
		return "", false, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO conversation_states AS s (user_id, conversation, read_id) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, conversation) DO UPDATE SET read_id = excluded.read_id
		WHERE s.read_id IS NULL OR s.read_id < excluded.read_id
		RETURNING read_id`, user, c, u).Scan(&u)
	raised = err == nil
	if errors.Is(err, pgx.ErrNoRows) { // locked, and not changed
		err = tx.QueryRow(ctx, `SELECT read_id FROM conversation_states WHERE user_id = $1 AND conversation = $2`, user, c).Scan(&u)
	}
	return postgres.FormatUUID(u), raised, postgres.Failed(err, "marking %s as read by %s", c, user)
}

// ChangeConversation changes what a user has done to a conversation, and
// returns what that is now. changed reports whether it was not so before.
// Conflict: as many are pinned as may be.
func (tx Tx) ChangeConversation(ctx context.Context, user string, c im.Conversation, to im.ConversationChange) (now im.ConversationState, changed bool, err error) {
	if to.Pinned != nil && *to.Pinned {
		// Pins of one user wait for each other, so that there are no more than may be.
		if _, err := tx.Exec(ctx, `SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE`, user); err != nil {
			return now, false, postgres.Failed(err, "locking %s", user)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO conversation_states (user_id, conversation) VALUES ($1, $2) ON CONFLICT DO NOTHING`, user, c)
	var read, hidden pgtype.UUID
	batch.Queue(`
		SELECT read_id, pinned, muted, hidden_id FROM conversation_states
		WHERE user_id = $1 AND conversation = $2 FOR NO KEY UPDATE`, user, c).
		QueryRow(func(row pgx.Row) error { return row.Scan(&read, &now.Pinned, &now.Muted, &hidden) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return now, false, postgres.Failed(err, "reading what %s did to %s", user, c)
	}
	now.Read, now.Hidden = postgres.FormatUUID(read), postgres.FormatUUID(hidden)
	was := now
	if to.Pinned != nil {
		now.Pinned = *to.Pinned
	}
	if to.Muted != nil {
		now.Muted = *to.Muted
	}
	if to.Hidden != nil {
		now.Hidden = *to.Hidden
	}
	if now == was {
		return now, false, nil
	}
	if now.Pinned && !was.Pinned {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM conversation_states WHERE user_id = $1 AND pinned`, user).Scan(&n); err != nil {
			return was, false, postgres.Failed(err, "counting what %s has pinned", user)
		}
		if n >= im.MaxPinned {
			return was, false, im.Errorf(im.Conflict, "you have pinned %d conversations, which are the most: unpin another one first", n)
		}
	}
	if hidden, err = postgres.ParseUUID(now.Hidden); err != nil {
		return was, false, err
	}
	_, err = tx.Exec(ctx, `UPDATE conversation_states SET pinned = $3, muted = $4, hidden_id = $5 WHERE user_id = $1 AND conversation = $2`,
		user, c, now.Pinned, now.Muted, hidden)
	return now, true, postgres.Failed(err, "changing what %s did to %s", user, c)
}
