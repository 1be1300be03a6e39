package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
)

// A Tx is a transaction that changes what others are to be told of. Its methods
// stand beside what they change, in the files of this package.
type Tx struct {
	tx      pgx.Tx
	notices []im.Notice
	stale   []im.Stale
	hold    hold // of accounts of deleted users
	free    bool // nobody is charged for the notices
}

// Notify has notices published if, and once, the transaction is committed.
func (tx *Tx) Notify(notices ...im.Notice) { tx.notices = append(tx.notices, notices...) }

// Recipients returns how many members each group has that a notice of the
// transaction goes to, if somebody is to be charged for it.
func (tx *Tx) Recipients(ctx context.Context) ([]im.Notice, map[im.Conversation]int, error) {
	if tx.free {
		return nil, nil, nil
	}
	var groups []string
	for _, n := range tx.notices {
		if g := n.Conversation.Group(); g != "" {
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		return nil, nil, nil
	}
	rows, err := tx.tx.Query(ctx, `SELECT id, members FROM groups WHERE id = ANY ($1)`, groups)
	if err != nil {
		return nil, nil, failed(err, "counting the members of %d groups", len(groups))
	}
	members := make(map[im.Conversation]int, len(groups))
	var group string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&group, &n}, func() error {
		members[im.Group(group)] = n
		return nil
	})
	return tx.notices, members, failed(err, "counting the members of %d groups", len(groups))
}

// changed notes what caches have to forget.
func (tx *Tx) changed(s im.Stale) { tx.stale = append(tx.stale, s) }

// Change runs f in a transaction. Before that is committed, prepare is handed
// what is stale by it and the notices that f left; the places that it returns,
// one for each, are stored with them. What is returned waits to be published.
// If f or prepare fails, nothing was changed; if the server does not answer
// when it is to commit, the change may have been made, and its notices wait.
//
// The transaction is of PostgreSQL's default isolation, read committed: f locks
// the rows that it decides by. It holds a connection while prepare asks others,
// who may hang: half of the pool is never used for that.
func (db *DB) Change(ctx context.Context,
	f func(context.Context, *Tx) error,
	prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error),
) (stale []im.Stale, pending []im.Pending, err error) {
	select {
	case db.changes <- struct{}{}:
		defer func() { <-db.changes }()
	case <-ctx.Done():
		return nil, nil, im.Wrap(im.Unavailable, ctx.Err(), "too many changes at once: try again")
	}
	err = pgx.BeginFunc(ctx, db.pool, func(pgtx pgx.Tx) error {
		tx := &Tx{tx: pgtx, hold: db.hold}
		if err := f(ctx, tx); err != nil {
			return err
		}
		var err error
		if pending, err = prepare(ctx, tx.stale, tx.notices); err != nil {
			return err
		}
		stale = tx.stale
		return tx.store(ctx, pending)
	})
	if err != nil {
		return nil, nil, failed(err, "making a change")
	}
	return stale, pending, nil
}

func (tx *Tx) store(ctx context.Context, pending []im.Pending) error {
	if len(pending) == 0 {
		return nil
	}
	ids, at, notices := make([]string, len(pending)), make([]time.Time, len(pending)), make([]string, len(pending))
	messages := make([]pgtype.UUID, len(pending))
	for i, p := range pending {
		var err error
		if messages[i], err = parseUUID(p.Place.ID); err != nil {
			return err
		}
		b, err := im.JSON(p.Notice)
		if err != nil {
			return im.Wrap(im.Internal, err, "writing a notice")
		}
		ids[i], at[i], notices[i] = p.ID, p.Time.Std(), string(b)
	}
	_, err := tx.tx.Exec(ctx, `
		INSERT INTO outbox (id, message_id, time, notice)
		SELECT i, m, t, n FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[]) AS o (i, m, t, n)`,
		ids, messages, at, notices)
	return failed(err, "writing %d notices into the outbox", len(pending))
}

// Pending returns at most limit notices that have waited for at least age to be
// published, in the order of their times: those after one of them, or from the
// first on if it is the zero Pending. Why others of those cannot be read is in
// broken, by id.
func (db *DB) Pending(ctx context.Context, age time.Duration, after im.Pending, limit int) (pending []im.Pending, broken map[string]error, err error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id, message_id, time, notice FROM outbox
		WHERE failed IS NULL AND created <= now() - $1::interval AND (time, id) > ($2, $3)
		ORDER BY time, id LIMIT $4`, age, after.Time.Std(), after.ID, limit)
	if err != nil {
		return nil, nil, failed(err, "reading the outbox")
	}
	broken = make(map[string]error)
	var id, notice string
	var message pgtype.UUID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &message, &at, &notice}, func() error {
		p := im.Pending{ID: id, Place: im.Place{Time: im.TimeOf(at), ID: formatUUID(message)}}
		if err := json.Unmarshal([]byte(notice), &p.Notice); err != nil {
			broken[id] = err
			return nil
		}
		pending = append(pending, p)
		return nil
	})
	return pending, broken, failed(err, "reading the outbox")
}

// Published takes notices out of the outbox. That it may be undone by a crash
// of the server does no harm: they are published again at their places.
func (db *DB) Published(ctx context.Context, ids []string) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`SET LOCAL synchronous_commit = off`)
		batch.Queue(`DELETE FROM outbox WHERE id = ANY ($1)`, ids)
		return tx.SendBatch(ctx, batch).Close()
	})
	return failed(err, "taking %d notices out of the outbox", len(ids))
}

// SetAside keeps a notice that cannot be published from being pending, until
// somebody has looked at why.
func (db *DB) SetAside(ctx context.Context, id string, why error) error {
	text := strings.ToValidUTF8(strings.ReplaceAll(why.Error(), "\x00", ""), "") // as PostgreSQL takes it
	_, err := db.pool.Exec(ctx, `UPDATE outbox SET failed = $2 WHERE id = $1`, id, text)
	return failed(err, "setting a notice aside")
}
