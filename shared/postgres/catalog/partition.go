package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

// lockTimeout is how long what rearranges the table of messages waits for
// others to leave it. Who comes meanwhile waits behind it.
const lockTimeout = "1s"

// rearrange runs f in a transaction that may take as long as ctx, but waits for
// locks for a moment only: Unavailable means that others held them.
func (db *Store) rearrange(ctx context.Context, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '`+lockTimeout+`'`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		return f(tx)
	})
}

const partitions = `
	SELECT starts, ends, name FROM (
		SELECT c.relname AS name,
			substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \('([^']+)'\)$$)::timestamptz AS starts,
			substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \('([^']+)'\)$$)::timestamptz AS ends
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'messages'::regclass) AS p
	WHERE starts IS NOT NULL AND ends IS NOT NULL`

// Partitions returns the partitions of the table of messages, the earliest
// first, without the one that takes what no other takes. Their Source is their
// name.
func (db *Store) Partitions(ctx context.Context) ([]im.Span, error) {
	rows, err := db.Query(ctx, partitions+` ORDER BY starts`)
	if err != nil {
		return nil, postgres.Failed(err, "reading the partitions of messages")
	}
	spans, err := pgx.CollectRows(rows, scanSpan)
	return spans, postgres.Failed(err, "reading the partitions of messages")
}

func scanSpan(row pgx.CollectableRow) (s im.Span, err error) {
	var starts, ends time.Time
	var source *string
	err = row.Scan(&starts, &ends, &source)
	s.Starts, s.Ends = im.TimeOf(starts), im.TimeOf(ends)
	if source != nil {
		s.Source = *source
	}
	return s, err
}

// MakePartition makes a partition of a stretch of time, and moves what is in
// the default partition already into it; it returns how much that was. While it
// moves, nobody reads or writes messages. A stretch of which there is a
// partition, or that is archived, is left as it is.
func (db *Store) MakePartition(ctx context.Context, span im.Span) (moved int64, err error) {
	name := pgx.Identifier{span.Source}.Sanitize()
	err = db.rearrange(ctx, func(tx pgx.Tx) error {
		// The table itself, before any partition: who came before that knows where
		// the rows were, and would miss those that are moved; who comes later waits
		// before it has looked which partitions there are.
		if _, err := tx.Exec(ctx, `LOCK TABLE ONLY messages IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		// Looked at under the lock, which whoever makes or detaches one takes.
		var taken bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM (`+partitions+`) AS p WHERE starts < $2 AND ends > $1)
				OR EXISTS (SELECT FROM archives WHERE starts < $2 AND ends > $1)`,
			span.Starts.Std(), span.Ends.Std()).Scan(&taken); err != nil || taken {
			return err
		}
		// What is computed is computed again.
		var columns string
		if err := tx.QueryRow(ctx, `
			SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = 'messages'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`).Scan(&columns); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE `+name+` (LIKE messages INCLUDING ALL)`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			WITH moved AS (DELETE FROM messages_default WHERE time >= $1 AND time < $2 RETURNING `+columns+`)
			INSERT INTO `+name+` (`+columns+`) SELECT `+columns+` FROM moved`, span.Starts.Std(), span.Ends.Std())
		if err != nil {
			return err
		}
		moved = tag.RowsAffected()
		_, err = tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE messages ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`, name, span.Starts, span.Ends))
		return err
	})
	return moved, postgres.Failed(err, "making the partition %s", span.Source)
}

// StrayMonths returns the starts of at most limit months, in UTC and before a
// time, of which there are messages in the default partition.
func (db *Store) StrayMonths(ctx context.Context, before im.Time, limit int) ([]im.Time, error) {
	rows, err := db.Query(ctx, `
		SELECT DISTINCT date_trunc('month', time AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS month FROM messages_default
		WHERE time < $1 ORDER BY month LIMIT $2`, before.Std(), limit)
	if err != nil {
		return nil, postgres.Failed(err, "reading what no partition takes")
	}
	months, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (im.Time, error) {
		var at time.Time
		err := row.Scan(&at)
		return im.TimeOf(at), err
	})
	return months, postgres.Failed(err, "reading what no partition takes")
}

// Detach takes a partition out of the table of messages and notes that its time
// is archived, in one step: from then on nobody adds to it or changes it. One
// that is detached already is left as it is.
func (db *Store) Detach(ctx context.Context, span im.Span) error {
	err := db.rearrange(ctx, func(tx pgx.Tx) error {
		// All of what has to be locked, at once: whoever reads or writes messages
		// has locked the table itself before any partition.
		if _, err := tx.Exec(ctx, `LOCK TABLE ONLY messages IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM (`+partitions+`) AS p WHERE starts = $1 AND ends = $2 AND name = $3)`,
			span.Starts.Std(), span.Ends.Std(), span.Source).Scan(&there); err != nil || !there {
			return err
		}
		if _, err := tx.Exec(ctx, `ALTER TABLE messages DETACH PARTITION `+pgx.Identifier{span.Source}.Sanitize()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO archives (starts, ends, source) VALUES ($1, $2, $3)`, span.Starts.Std(), span.Ends.Std(), span.Source)
		return err
	})
	return postgres.Failed(err, "detaching the partition %s", span.Source)
}

// Drop drops the source of a span whose messages are all in parts, and notes
// that. Conflict: the parts do not hold as many messages as the source.
func (db *Store) Drop(ctx context.Context, span im.Span) error {
	err := db.rearrange(ctx, func(tx pgx.Tx) error {
		var source *string
		err := tx.QueryRow(ctx, `SELECT source FROM archives WHERE starts = $1 FOR UPDATE`, span.Starts.Std()).Scan(&source)
		if err != nil || source == nil || *source != span.Source { // another has done it
			return err
		}
		table := pgx.Identifier{span.Source}.Sanitize()
		var in, of int64
		if err := tx.QueryRow(ctx, `
			SELECT (SELECT coalesce(sum(rows), 0) FROM archive_parts WHERE starts = $1), (SELECT count(*) FROM `+table+`)`,
			span.Starts.Std()).Scan(&in, &of); err != nil {
			return err
		}
		if in != of {
			return im.Errorf(im.Conflict, "%d of %d messages of %s are archived", in, of, span.Source)
		}
		if _, err := tx.Exec(ctx, `UPDATE archives SET source = NULL, archived = now(), rows = $2 WHERE starts = $1`, span.Starts.Std(), of); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DROP TABLE `+table)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return im.Errorf(im.NotFound, "nothing is archived of %s", span.Starts)
	}
	return postgres.Failed(err, "dropping %s", span.Source)
}
