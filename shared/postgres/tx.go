package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidings-im/tidings/shared/im"
)

// A Querier runs statements: a DB, each in a transaction of its own, or a
// transaction. Its errors are those of pgx; Failed gives them their kinds.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// A Tx is a transaction that changes what others are to be told of. Each area
// has a Tx of its own, which is this one with the changes of its tables.
type Tx struct {
	tx      pgx.Tx
	hold    Hold
	notices []im.Notice
	stale   []im.Stale
	free    bool
}

// InTx runs f in a transaction, which is committed unless f fails. If the server
// does not answer when it is to commit, the change may have been made.
//
// The transaction is of PostgreSQL's default isolation, read committed: f locks
// the rows that it decides by. It holds a connection while f asks others, who
// may hang: half of the pool is never used for that.
func (db *DB) InTx(ctx context.Context, f func(context.Context, *Tx) error) error {
	select {
	case db.changes <- struct{}{}:
		defer func() { <-db.changes }()
	case <-ctx.Done():
		return im.Wrap(im.Unavailable, ctx.Err(), "too many changes at once: try again")
	}
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		return f(ctx, &Tx{tx: tx, hold: db.hold})
	})
	return Failed(err, "making a change")
}

// Notify has notices published if, and once, the transaction is committed.
func (tx *Tx) Notify(notices ...im.Notice) { tx.notices = append(tx.notices, notices...) }

// Notices returns what Notify was called with.
func (tx *Tx) Notices() []im.Notice { return tx.notices }

// MarkStale notes what caches have to forget.
func (tx *Tx) MarkStale(s im.Stale) { tx.stale = append(tx.stale, s) }

// Stale returns what MarkStale was called with.
func (tx *Tx) Stale() []im.Stale { return tx.stale }

// SetFree has nobody charged for the notices.
func (tx *Tx) SetFree() { tx.free = true }

// Free reports whether nobody is charged for the notices.
func (tx *Tx) Free() bool { return tx.free }

// Hold returns for how long the accounts of deleted users are nobody's.
func (tx *Tx) Hold() Hold { return tx.hold }

// Query runs a statement that returns rows.
func (tx *Tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return tx.tx.Query(ctx, sql, args...)
}

// QueryRow runs a statement that returns a row.
func (tx *Tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return tx.tx.QueryRow(ctx, sql, args...)
}

// Exec runs a statement.
func (tx *Tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return tx.tx.Exec(ctx, sql, args...)
}

// SendBatch runs statements by one round trip.
func (tx *Tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return tx.tx.SendBatch(ctx, b)
}

// Strings returns the strings of the one column of a query, and its error as
// Failed does of what was being done.
func (tx *Tx) Strings(ctx context.Context, doing, query string, args ...any) ([]string, error) {
	rows, err := tx.tx.Query(ctx, query, args...)
	if err != nil {
		return nil, Failed(err, "%s", doing)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, Failed(err, "%s", doing)
}
