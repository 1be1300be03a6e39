package inboxes

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Heads returns the greatest seq in the inbox of each user. Users whose inbox
// is empty are left out.
func (in *Store) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	rows, err := in.Query(ctx, `
		SELECT u, h.seq FROM unnest($1::text[]) AS u
		CROSS JOIN LATERAL (SELECT seq FROM inbox WHERE user_id = u ORDER BY seq DESC LIMIT 1) AS h`, users)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d inbox heads", len(users))
	}
	heads := make(map[string]int64, len(users))
	var user string
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&user, &seq}, func() error {
		heads[user] = seq
		return nil
	})
	return heads, postgres.Failed(err, "reading %d inbox heads", len(users))
}

// columns are entries as arrays, for unnest.
type columns struct {
	users, messages, conversations []string
	ids                            []pgtype.UUID
	seqs                           []int64
	classes                        []int16
	quiet                          []bool // as it came
	revisions                      []int32
}

func columnsOf(entries []im.Entry) (columns, error) {
	n := len(entries)
	c := columns{
		users: make([]string, n), messages: make([]string, n), conversations: make([]string, n),
		ids: make([]pgtype.UUID, n), seqs: make([]int64, n), classes: make([]int16, n),
		quiet: make([]bool, n), revisions: make([]int32, n),
	}
	for i, e := range entries {
		var err error
		if c.ids[i], err = postgres.ParseUUID(e.ID); err != nil {
			return c, err
		}
		c.users[i], c.messages[i], c.conversations[i] = e.User, string(e.Message), string(e.Conversation)
		c.seqs[i], c.classes[i], c.quiet[i], c.revisions[i] = e.Seq, int16(e.Class), e.Class == im.ClassQuiet, int32(e.Revision)
	}
	return c, nil
}

// Insert adds entries, all of them or none: n is len(entries) or 0. Conflict
// means that a user has one of these seqs or messages already. Callers sort
// entries by user and seq, so that no two inserts wait for each other's rows.
func (in *Store) Insert(ctx context.Context, entries []im.Entry) (n int, err error) {
	c, err := columnsOf(entries)
	if err != nil {
		return 0, err
	}
	// One statement is one transaction.
	_, err = in.Exec(ctx, `
		INSERT INTO inbox (user_id, seq, message_id, message, conversation, class, quiet, revision)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::smallint[], $7::bool[], $8::int[])`,
		c.users, c.seqs, c.ids, c.messages, c.conversations, c.classes, c.quiet, c.revisions)
	if err != nil {
		return 0, postgres.Failed(err, "adding %d inbox entries", len(entries))
	}
	return len(entries), nil
}

// Amend replaces the message, class and revision of those entries that are
// there with a lesser revision, and were more than quiet when they came. Of
// several for one entry the greatest counts.
func (in *Store) Amend(ctx context.Context, entries []im.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	c, err := columnsOf(entries)
	if err != nil {
		return err
	}
	// Locked in one order, so that no two of these wait for each other's rows.
	// What another has amended meanwhile is looked at again when it is locked.
	_, err = in.Exec(ctx, `
		WITH a AS MATERIALIZED (
			SELECT DISTINCT ON (user_id, conversation, message_id) *
			FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::smallint[], $6::int[])
				AS a (user_id, conversation, message_id, message, class, revision)
			ORDER BY user_id, conversation, message_id, revision DESC
		), held AS MATERIALIZED (
			SELECT a.* FROM a CROSS JOIN LATERAL (
				SELECT FROM inbox i
				WHERE i.user_id = a.user_id AND NOT i.quiet AND i.conversation = a.conversation AND i.message_id = a.message_id
					AND i.revision < a.revision
				LIMIT 1 FOR NO KEY UPDATE) AS i
		)
		UPDATE inbox i SET message = h.message, class = h.class, revision = h.revision FROM held h
		WHERE i.user_id = h.user_id AND NOT i.quiet AND i.conversation = h.conversation AND i.message_id = h.message_id`,
		c.users, c.conversations, c.ids, c.messages, c.classes, c.revisions)
	return postgres.Failed(err, "amending %d inbox entries", len(entries))
}

// eraseAtOnce is how many entries are erased by one statement, so that none
// takes long.
const eraseAtOnce = 5000

// Erase removes all entries of a user. If it fails, some may be left.
func (in *Store) Erase(ctx context.Context, user string) error {
	for {
		tag, err := in.Exec(ctx, `
			DELETE FROM inbox WHERE user_id = $1 AND seq = ANY (ARRAY (SELECT seq FROM inbox WHERE user_id = $1 ORDER BY seq LIMIT $2))`,
			user, eraseAtOnce)
		if err != nil {
			return postgres.Failed(err, "erasing the inbox of %s", user)
		}
		if tag.RowsAffected() < eraseAtOnce {
			return nil
		}
	}
}

// Remove removes the entries of a user at these seqs, as far as they are there.
func (in *Store) Remove(ctx context.Context, user string, seqs []int64) error {
	for part := range slices.Chunk(seqs, eraseAtOnce) {
		if _, err := in.Exec(ctx, `DELETE FROM inbox WHERE user_id = $1 AND seq = ANY ($2)`, user, part); err != nil {
			return postgres.Failed(err, "removing %d inbox entries", len(seqs))
		}
	}
	return nil
}

// Find returns the seqs of those entries that are there.
func (in *Store) Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	users, conversations, ids, err := postgres.KeyColumns(keys)
	if err != nil {
		return nil, err
	}
	rows, err := in.Query(ctx, `
		SELECT k.n, i.seq`+eachKey, users, conversations, ids)
	if err != nil {
		return nil, postgres.Failed(err, "looking for %d inbox entries", len(keys))
	}
	found := make(map[im.EntryKey]int64)
	var n, seq int64
	_, err = pgx.ForEachRow(rows, []any{&n, &seq}, func() error {
		found[keys[n-1]] = seq
		return nil
	})
	return found, postgres.Failed(err, "looking for %d inbox entries", len(keys))
}

// eachKey looks each key up in the primary key, among the quiet ones if it is
// not among the others. Written so, PostgreSQL has no other way.
const eachKey = `
	FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS k (user_id, conversation, message_id, n)
	CROSS JOIN LATERAL (
		SELECT seq, message, class, revision FROM inbox
		WHERE user_id = k.user_id AND NOT quiet AND conversation = k.conversation AND message_id = k.message_id
		UNION ALL
		SELECT seq, message, class, revision FROM inbox
		WHERE user_id = k.user_id AND quiet AND conversation = k.conversation AND message_id = k.message_id
		LIMIT 1) AS i`

// After returns at most limit entries of a user, those right after a seq, in
// the order of seq. They have a user, seq, id and message.
func (in *Store) After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	rows, err := in.Query(ctx,
		`SELECT seq, message_id, message FROM inbox WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, user, after, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the inbox of %s", user)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Entry, error) {
		e := im.Entry{User: user}
		var id pgtype.UUID
		err := row.Scan(&e.Seq, &id, (*[]byte)(&e.Message))
		e.ID = postgres.FormatUUID(id)
		return e, err
	})
	return entries, postgres.Failed(err, "reading the inbox of %s", user)
}

// Seqs is After without the messages.
func (in *Store) Seqs(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	rows, err := in.Query(ctx, `SELECT seq, message_id FROM inbox WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, user, after, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the seqs of %s", user)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Entry, error) {
		e := im.Entry{User: user}
		var id pgtype.UUID
		err := row.Scan(&e.Seq, &id)
		e.ID = postgres.FormatUUID(id)
		return e, err
	})
	return entries, postgres.Failed(err, "reading the seqs of %s", user)
}

// Get returns those entries that are there.
func (in *Store) Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error) {
	users, conversations, ids, err := postgres.KeyColumns(keys)
	if err != nil {
		return nil, err
	}
	rows, err := in.Query(ctx, `
		SELECT k.n, i.seq, i.message, i.class, i.revision`+eachKey, users, conversations, ids)
	if err != nil {
		return nil, postgres.Failed(err, "reading %d inbox entries", len(keys))
	}
	entries := make(map[im.EntryKey]im.Entry, len(keys))
	var n int64
	var e im.Entry
	var message string
	_, err = pgx.ForEachRow(rows, []any{&n, &e.Seq, &message, &e.Class, &e.Revision}, func() error {
		k := keys[n-1]
		e.User, e.Conversation, e.ID, e.Message = k.User, k.Conversation, k.ID, []byte(message)
		entries[k] = e
		return nil
	})
	return entries, postgres.Failed(err, "reading %d inbox entries", len(keys))
}

// Latest returns the newest entry that is more than quiet, by the id of its
// message, in each of a user's conversations, of which it reads limit at most.
func (in *Store) Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error) {
	// A loose index scan (https://wiki.postgresql.org/wiki/Loose_indexscan): it
	// costs what there are conversations, however many entries they have. What
	// it passes by, for its class, are messages that the user has deleted.
	rows, err := in.Query(ctx, `
		WITH RECURSIVE c AS (
			(SELECT conversation, message_id FROM inbox
			 WHERE user_id = $1 AND NOT quiet AND class > 0
			 ORDER BY conversation DESC, message_id DESC LIMIT 1)
			UNION ALL
			SELECT n.* FROM c CROSS JOIN LATERAL (
				SELECT conversation, message_id FROM inbox
				WHERE user_id = $1 AND NOT quiet AND class > 0 AND conversation < c.conversation
				ORDER BY conversation DESC, message_id DESC LIMIT 1) AS n
		)
		SELECT conversation, message_id FROM c LIMIT $2`, user, limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading the conversations of %s", user)
	}
	latest := make(map[im.Conversation]string)
	var c im.Conversation
	var id pgtype.UUID
	_, err = pgx.ForEachRow(rows, []any{&c, &id}, func() error {
		latest[c] = postgres.FormatUUID(id)
		return nil
	})
	return latest, postgres.Failed(err, "reading the conversations of %s", user)
}

// Newest returns the id of the newest message in one of a user's conversations
// that is more than quiet; "" if there is none.
func (in *Store) Newest(ctx context.Context, user string, c im.Conversation) (string, error) {
	var id pgtype.UUID
	err := in.QueryRow(ctx, `
		SELECT (SELECT message_id FROM inbox
			WHERE user_id = $1 AND NOT quiet AND class > 0 AND conversation = $2
			ORDER BY message_id DESC LIMIT 1)`, user, c).Scan(&id)
	return postgres.FormatUUID(id), postgres.Failed(err, "reading the newest message of %s in %s", user, c)
}

// unreadAmong is among how many entries for each that is to be counted unread
// ones are looked for: what a user wrote or deleted stands between them.
const unreadAmong = 10

// Unread returns how many unread entries of a user follow a message, in each
// of the conversations given; it counts to most, and no further, nor among more
// than ten times as many entries. "" precedes all messages.
func (in *Store) Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error) {
	conversations, ids := make([]string, 0, len(after)), make([]pgtype.UUID, 0, len(after))
	for c, id := range after {
		u, err := postgres.ParseUUID(id)
		if err != nil {
			return nil, err
		}
		u.Valid = true // "" is all zeros
		conversations, ids = append(conversations, string(c)), append(ids, u)
	}
	rows, err := in.Query(ctx, `
		SELECT a.conversation, u.count FROM unnest($2::text[], $3::uuid[]) AS a (conversation, id)
		CROSS JOIN LATERAL (SELECT count(*) FROM (
			SELECT FROM (
				SELECT i.class FROM inbox i
				WHERE i.user_id = $1 AND NOT i.quiet AND i.conversation = a.conversation AND i.message_id > a.id
				ORDER BY i.message_id LIMIT $5) AS x
			WHERE x.class = 2 LIMIT $4) AS y) AS u`, user, conversations, ids, most, unreadAmong*most)
	if err != nil {
		return nil, postgres.Failed(err, "counting what %s has not read", user)
	}
	unread := make(map[im.Conversation]int, len(after))
	var c im.Conversation
	var n int
	_, err = pgx.ForEachRow(rows, []any{&c, &n}, func() error {
		unread[c] = n
		return nil
	})
	return unread, postgres.Failed(err, "counting what %s has not read", user)
}
