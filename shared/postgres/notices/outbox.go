package notices

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Recipients returns the notices of a transaction and how many members each
// group has that one goes to, if somebody is to be charged for it.
func Recipients(ctx context.Context, tx *postgres.Tx) ([]im.Notice, map[im.Conversation]int, error) {
	if tx.Free() {
		return nil, nil, nil
	}
	var groups []string
	for _, n := range tx.Notices() {
		if g := n.Conversation.Group(); g != "" {
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		return nil, nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT id, members FROM groups WHERE id = ANY ($1)`, groups)
	if err != nil {
		return nil, nil, postgres.Failed(err, "counting the members of %d groups", len(groups))
	}
	members := make(map[im.Conversation]int, len(groups))
	var group string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&group, &n}, func() error {
		members[im.Group(group)] = n
		return nil
	})
	return tx.Notices(), members, postgres.Failed(err, "counting the members of %d groups", len(groups))
}

// Change runs f in a transaction. Before that is committed, prepare is handed
// what is stale by it and the notices that f left; the places that it returns,
// one for each, are stored with them. What is returned waits to be published.
// If f or prepare fails, nothing was changed; if the server does not answer
// when it is to commit, the change may have been made, and its notices wait.
// DB.InTx says what f has to lock.
func (db *Store) Change(ctx context.Context,
	f func(context.Context, *postgres.Tx) error,
	prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error),
) (stale []im.Stale, pending []im.Pending, err error) {
	err = db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		if err := f(ctx, tx); err != nil {
			return err
		}
		var err error
		if pending, err = prepare(ctx, tx.Stale(), tx.Notices()); err != nil {
			return err
		}
		stale = tx.Stale()
		return store(ctx, tx, pending)
	})
	if err != nil {
		return nil, nil, err
	}
	return stale, pending, nil
}

func store(ctx context.Context, tx *postgres.Tx, pending []im.Pending) error {
	if len(pending) == 0 {
		return nil
	}
	ids, at, notices := make([]string, len(pending)), make([]time.Time, len(pending)), make([]string, len(pending))
	messages := make([]pgtype.UUID, len(pending))
	for i, p := range pending {
		var err error
		if messages[i], err = postgres.ParseUUID(p.Place.ID); err != nil {
			return err
		}
		b, err := im.JSON(p.Notice)
		if err != nil {
			return im.Wrap(im.Internal, err, "writing a notice")
		}
		ids[i], at[i], notices[i] = p.ID, p.Time.Std(), string(b)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO outbox (id, message_id, time, notice)
		SELECT i, m, t, n FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[]) AS o (i, m, t, n)`,
		ids, messages, at, notices)
	return postgres.Failed(err, "writing %d notices into the outbox", len(pending))
}

// Pending returns at most limit notices that have waited for at least age to be
// published, in the order of their times: those after one of them, or from the
// first on if it is the zero Pending. Why others of those cannot be read is in
// broken, by id.
func (db *Store) Pending(ctx context.Context, age time.Duration, after im.Pending, limit int) (pending []im.Pending, broken map[string]error, err error) {
	rows, err := db.Query(ctx, `
		SELECT id, message_id, time, notice FROM outbox
		WHERE failed IS NULL AND created <= now() - $1::interval AND (time, id) > ($2, $3)
		ORDER BY time, id LIMIT $4`, age, after.Time.Std(), after.ID, limit)
	if err != nil {
		return nil, nil, postgres.Failed(err, "reading the outbox")
	}
	broken = make(map[string]error)
	var id, notice string
	var message pgtype.UUID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &message, &at, &notice}, func() error {
		p := im.Pending{ID: id, Place: im.Place{Time: im.TimeOf(at), ID: postgres.FormatUUID(message)}}
		if err := json.Unmarshal([]byte(notice), &p.Notice); err != nil {
			broken[id] = err
			return nil
		}
		pending = append(pending, p)
		return nil
	})
	return pending, broken, postgres.Failed(err, "reading the outbox")
}

// Published takes notices out of the outbox. That it may be undone by a crash
// of the server does no harm: they are published again at their places.
func (db *Store) Published(ctx context.Context, ids []string) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`SET LOCAL synchronous_commit = off`)
		batch.Queue(`DELETE FROM outbox WHERE id = ANY ($1)`, ids)
		return tx.SendBatch(ctx, batch).Close()
	})
	return postgres.Failed(err, "taking %d notices out of the outbox", len(ids))
}

// SetAside keeps a notice that cannot be published from being pending, until
// somebody has looked at why.
func (db *Store) SetAside(ctx context.Context, id string, why error) error {
	text := strings.ToValidUTF8(strings.ReplaceAll(why.Error(), "\x00", ""), "") // as PostgreSQL takes it
	_, err := db.Exec(ctx, `UPDATE outbox SET failed = $2 WHERE id = $1`, id, text)
	return postgres.Failed(err, "setting a notice aside")
}
