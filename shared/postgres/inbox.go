package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// An Inbox keeps the inboxes of all users in a table. It is held to the
// conformance test of package inboxtest.
type Inbox struct{ db *DB }

// Inbox returns the inboxes in db.
func (db *DB) Inbox() *Inbox { return &Inbox{db} }

// Heads returns the greatest seq in the inbox of each user. Users whose inbox
// is empty are left out.
func (in *Inbox) Heads(ctx context.Context, users []string) (map[string]int64, error) {
	rows, err := in.db.pool.Query(ctx, `
		SELECT u, h.seq FROM unnest($1::text[]) AS u
		CROSS JOIN LATERAL (SELECT seq FROM inbox WHERE user_id = u ORDER BY seq DESC LIMIT 1) AS h`, users)
	if err != nil {
		return nil, failed(err, "reading %d inbox heads", len(users))
	}
	heads := make(map[string]int64, len(users))
	var user string
	var seq int64
	_, err = pgx.ForEachRow(rows, []any{&user, &seq}, func() error {
		heads[user] = seq
		return nil
	})
	return heads, failed(err, "reading %d inbox heads", len(users))
}

// Insert adds entries, all of them or none: n is len(entries) or 0. Conflict
// means that a user has one of these seqs or messages already. Callers sort
// entries by user and seq, so that no two inserts wait for each other's rows.
func (in *Inbox) Insert(ctx context.Context, entries []im.Entry) (n int, err error) {
	users, seqs := make([]string, len(entries)), make([]int64, len(entries))
	ids, messages := make([]pgtype.UUID, len(entries)), make([]string, len(entries))
	for i, e := range entries {
		if ids[i], err = parseUUID(e.ID); err != nil {
			return 0, err
		}
		users[i], seqs[i], messages[i] = e.User, e.Seq, string(e.Message)
	}
	// One statement is one transaction.
	_, err = in.db.pool.Exec(ctx, `
		INSERT INTO inbox (user_id, seq, message_id, message)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[])`,
		users, seqs, ids, messages)
	if err != nil {
		return 0, failed(err, "adding %d inbox entries", len(entries))
	}
	return len(entries), nil
}

// Find returns the seqs of those entries that are there.
func (in *Inbox) Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	users, ids := make([]string, len(keys)), make([]pgtype.UUID, len(keys))
	for i, k := range keys {
		var err error
		if ids[i], err = parseUUID(k.ID); err != nil {
			return nil, err
		}
		users[i] = k.User
	}
	rows, err := in.db.pool.Query(ctx, `
		SELECT k.n, i.seq FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (user_id, message_id, n)
		JOIN inbox i USING (user_id, message_id)`, users, ids)
	if err != nil {
		return nil, failed(err, "looking for %d inbox entries", len(keys))
	}
	found := make(map[im.EntryKey]int64)
	var n, seq int64
	_, err = pgx.ForEachRow(rows, []any{&n, &seq}, func() error {
		found[keys[n-1]] = seq
		return nil
	})
	return found, failed(err, "looking for %d inbox entries", len(keys))
}

// After returns at most limit entries of a user, those right after a seq, in
// the order of seq.
func (in *Inbox) After(ctx context.Context, user string, after int64, limit int) ([]im.Entry, error) {
	rows, err := in.db.pool.Query(ctx,
		`SELECT seq, message_id, message FROM inbox WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, user, after, limit)
	if err != nil {
		return nil, failed(err, "reading the inbox of %s", user)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Entry, error) {
		e := im.Entry{User: user}
		var id pgtype.UUID
		err := row.Scan(&e.Seq, &id, (*[]byte)(&e.Message))
		e.ID = formatUUID(id)
		return e, err
	})
	return entries, failed(err, "reading the inbox of %s", user)
}
