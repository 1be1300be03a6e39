package erasures

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/bots"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

// ForgetBot clears the row of a bot as ForgetUser does, if it is still of an
// owner, or, with an owner of "", if its owner was deleted. It returns its
// sessions, and false if it was deleted already. NotFound: the owner never had
// such a bot.
func (tx Tx) ForgetBot(ctx context.Context, owner, bot string) (sessions []string, was bool, err error) {
	var deleted bool
	err = tx.QueryRow(ctx, `
		SELECT deleted IS NOT NULL FROM users WHERE id = $1 AND owner_id IS NOT NULL AND (owner_id = $2 OR $2 = '' AND orphaned IS NOT NULL)
		FOR UPDATE`, bot, owner).Scan(&deleted)
	if err != nil || deleted {
		return nil, false, bots.NotFound(err, "deleting bot %s", bot)
	}
	sessions, err = tx.forget(ctx, bot)
	return sessions, err == nil, err
}

// ForgetUser clears the row of a user, whose account is nobody's then, ends their
// sessions, deletes the tokens of these and notes that an erasure is due. It
// returns the sessions, and false if the user was deleted already. Conflict:
// the password is not that of the hash any more.
//
// Until the transaction ends nobody makes a session, a friendship or a
// membership of the user; after it, nobody finds whom to make one of. It comes
// first in its transaction: users are locked before groups, and before lists.
func (tx Tx) ForgetUser(ctx context.Context, user, passwordHash string) (sessions []string, was bool, err error) {
	doing := "deleting user " + user
	var deleted, same bool
	err = tx.QueryRow(ctx, `SELECT deleted IS NOT NULL, password = $2 FROM users WHERE id = $1 FOR UPDATE`, user, passwordHash).
		Scan(&deleted, &same)
	switch {
	case err != nil:
		return nil, false, users.NotFound(err, "%s", doing)
	case deleted:
		return nil, false, nil
	case !same:
		return nil, false, im.Errorf(im.Conflict, "the password was changed meanwhile")
	}
	sessions, err = tx.forget(ctx, user)
	return sessions, err == nil, err
}

// forget is ForgetUser of a user who is locked. Their bots can do nothing any
// more, and are somebody's to delete: each in a transaction of its own, for
// they are in groups and lists, too.
func (tx Tx) forget(ctx context.Context, user string) (sessions []string, err error) {
	doing := "deleting user " + user
	bots, err := tx.Strings(ctx, doing, `UPDATE users SET orphaned = now() WHERE owner_id = $1 AND deleted IS NULL RETURNING id`, user)
	if err != nil {
		return nil, err
	}
	all := append(bots, user)
	if sessions, err = users.EndSessions(ctx, tx, `user_id = ANY ($1)`, all); err != nil {
		return nil, postgres.Failed(err, "%s", doing)
	}
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM webhooks WHERE bot_id = ANY ($1)`, all)
	for _, table := range []string{"identities", "second_factors", "email_codes", "mails"} { // recovery codes go with their factor
		batch.Queue(`DELETE FROM `+table+` WHERE user_id = $1`, user)
	}
	batch.Queue(`
		DELETE FROM mails WHERE purpose = 'reset' AND user_id IS NULL
		AND email = (SELECT email FROM users WHERE id = $1 AND email_verified IS NOT NULL)`, user)
	users.QueueHold(batch, tx.Hold(), user)
	batch.Queue(`
		UPDATE users SET deleted = now(), account = NULL, name = '', password = '', email = NULL, email_verified = NULL, phone = NULL,
			bio = '', avatar = '', avatar_checked = '', find_by_email = DEFAULT, find_by_phone = DEFAULT, presence = 'nobody', friend_requests = 'nobody', group_adds = 'nobody'
		WHERE id = $1`, user)
	batch.Queue(`DELETE FROM refresh_tokens WHERE session_id = ANY ($1)`, sessions)
	batch.Queue(`INSERT INTO erasures (user_id) VALUES ($1)`, user)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, postgres.Failed(err, "%s", doing)
	}
	return sessions, nil
}

// DueErasures returns at most limit erasures that are due, those that have been
// for longest.
func (db *Store) DueErasures(ctx context.Context, limit int) ([]im.Erasure, error) {
	rows, err := db.Query(ctx, `SELECT user_id, again FROM erasures WHERE due <= now() ORDER BY due LIMIT $1`, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading erasures")
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e im.Erasure, err error) {
		return e, row.Scan(&e.User, &e.Again)
	})
	return due, postgres.Failed(err, "reading erasures")
}

// What is erased of a deleted user in batches, with how many rows are one.
// Sessions bring their refresh tokens with them, and stay until everybody knows
// that they have ended.
var erased = []struct {
	statement string
	batch     int
}{
	{`DELETE FROM sessions WHERE id IN (
		SELECT id FROM sessions WHERE user_id = $1 AND ended IS NOT NULL AND told LIMIT $2 FOR UPDATE SKIP LOCKED)`, 50},
	{`DELETE FROM conversation_states WHERE user_id = $1 AND conversation IN (
		SELECT conversation FROM conversation_states WHERE user_id = $1 LIMIT $2)`, 1000},
	{`DELETE FROM deleted_messages WHERE user_id = $1 AND (conversation, message_id) IN (
		SELECT conversation, message_id FROM deleted_messages WHERE user_id = $1 LIMIT $2)`, 1000},
	// What they sent stays with the messages; file-sweep removes the rest.
	{`UPDATE files SET state = 'removed' WHERE id IN (
		SELECT id FROM files WHERE owner_id = $1 AND (state = 'pending' OR unsent_since IS NOT NULL) AND state <> 'removed' LIMIT $2)`, 1000},
	{`UPDATE avatars SET unused = now() WHERE key IN (
		SELECT key FROM avatars WHERE owner_id = $1 AND unused IS NULL LIMIT $2)`, 1000},
}

// EraseUser deletes what is left of a deleted user in tables that grow with
// what they have done, which no transaction could be made to wait for. If it
// fails, some of it may be left.
func (db *Store) EraseUser(ctx context.Context, user string) error {
	for _, e := range erased {
		for gone := int64(e.batch); gone == int64(e.batch); {
			got, err := db.Exec(ctx, e.statement, user, e.batch)
			if err != nil {
				return postgres.Failed(err, "erasing what is left of %s", user)
			}
			gone = got.RowsAffected()
		}
	}
	return nil
}

// Erased notes that an erasure was done. One that was done for the first time
// is due again after a while; the other is forgotten. Saying so twice does no
// harm.
func (db *Store) Erased(ctx context.Context, e im.Erasure, after time.Duration) error {
	query, args := `UPDATE erasures SET again = true, due = now() + $2::interval WHERE user_id = $1 AND NOT again`, []any{e.User, after}
	if e.Again {
		query, args = `DELETE FROM erasures WHERE user_id = $1 AND again`, args[:1]
	}
	_, err := db.Exec(ctx, query, args...)
	return postgres.Failed(err, "noting that what is left of %s was erased", e.User)
}
