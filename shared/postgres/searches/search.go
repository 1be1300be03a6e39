package searches

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/words"
)

// maxSearched is how many direct conversations, and how many groups, of a user
// are searched at once: those who are newest.
const maxSearched = 5000

// SearchScope returns the conversations that a user may search, with how far
// each is indexed: all that they are in, or only c, or none if they are not in
// that.
func (db *Store) SearchScope(ctx context.Context, user string, c im.Conversation) ([]words.Scope, error) {
	rows, err := db.Query(ctx, searchScope, user, string(c), maxSearched, c.Peer(user) != "", c.Group())
	if err != nil {
		return nil, postgres.Failed(err, "reading what %s may search", user)
	}
	scopes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s words.Scope, err error) {
		var at *time.Time
		var id pgtype.UUID
		err = row.Scan(&s.Conversation, &at, &id)
		s.Indexed = im.Place{Time: postgres.Time(at), ID: postgres.FormatUUID(id)}
		return s, err
	})
	return scopes, postgres.Failed(err, "reading what %s may search", user)
}

const searchScope = `
	SELECT c.conversation, b.upto_time, b.upto_id FROM (
		SELECT $2::text AS conversation
		WHERE $2::text <> '' AND ($4::boolean OR EXISTS (SELECT FROM group_members WHERE group_id = $5::text AND user_id = $1))
		UNION ALL
		(SELECT 'g:' || group_id FROM group_members WHERE $2::text = '' AND user_id = $1 ORDER BY joined DESC LIMIT $3)
		UNION ALL
		(SELECT conversation FROM direct_conversations WHERE $2::text = '' AND user_id = $1 ORDER BY since DESC LIMIT $3)
	) c
	LEFT JOIN LATERAL (
		SELECT upto_time, upto_id FROM search_blocks b WHERE b.conversation = c.conversation ORDER BY seq DESC LIMIT 1
	) b ON true`

// SearchMessages returns the messages of a stretch of time of some
// conversations that may match, the newest first, at most as many and as many
// bytes as it says. more reports that there may be others. Recalled ones are not
// among them.
func (db *Store) SearchMessages(ctx context.Context, scopes []words.Scope, s words.Stretch) (found []im.Message, more bool, err error) {
	err = db.searching(ctx, scopes, s, "", func(rows pgx.Rows) (err error) {
		found, more, err = messages.Collect(rows, s.Bytes)
		return err
	})
	return found, more || len(found) == s.Limit, postgres.Failed(err, "searching %d conversations", len(scopes))
}

// ExplainSearch does what SearchMessages does and returns how PostgreSQL did
// it, as EXPLAIN (ANALYZE, FORMAT JSON) says.
func (db *Store) ExplainSearch(ctx context.Context, scopes []words.Scope, s words.Stretch) (plan []byte, err error) {
	err = db.searching(ctx, scopes, s, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ", func(rows pgx.Rows) (err error) {
		plan, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
		return err
	})
	return plan, postgres.Failed(err, "explaining a search of %d conversations", len(scopes))
}

// searching runs the query of SearchMessages, with a prefix, and hands its rows
// to f.
func (db *Store) searching(ctx context.Context, scopes []words.Scope, s words.Stretch, prefix string, f func(pgx.Rows) error) error {
	n := len(scopes)
	conversations, at, ids := make([]string, n), make([]time.Time, n), make([]pgtype.UUID, n)
	for i, scope := range scopes {
		var err error
		if ids[i], err = postgres.ParseUUID(scope.Indexed.ID); err != nil {
			return err
		}
		ids[i].Valid = true
		conversations[i], at[i] = string(scope.Conversation), scope.Indexed.Time.Std()
	}
	from, err := postgres.ParseUUID(s.From.ID)
	if err != nil {
		return err
	}
	to, err := postgres.ParseUUID(s.To.ID)
	if err != nil {
		return err
	}
	from.Valid, to.Valid = true, true
	// What the planner thinks of filters and ranges of times that it cannot see
	// through is never better than going from block to block.
	return pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, searchSettings); err != nil {
			return err
		}
		args := []any{conversations, at, ids, s.Sender, s.From.Time.Std(), from, s.To.Time.Std(), to, s.Limit}
		for i := range s.Filters {
			args = append(args, messages.Bits(&s.Filters[i]))
		}
		rows, err := tx.Query(ctx, prefix+searchMessages(len(s.Filters)), args...)
		if err != nil {
			return err
		}
		return f(rows)
	})
}

const searchSettings = `SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off`

// searchMessages returns the query of SearchMessages. From each conversation it
// takes the blocks that may have what is searched for, by any of so many
// filters, and what is not indexed yet; of each of these the messages, newest
// first. Filters are parameters of their own: taken out of an array, they would
// be copied for each block.
func searchMessages(filters int) string {
	const first = 10
	may := make([]string, filters)
	for i := range may {
		may[i] = fmt.Sprintf("b.filter & $%[1]d = $%[1]d", first+i)
	}
	return `
	WITH spans AS MATERIALIZED (
		SELECT c.conversation, b.* FROM unnest($1::text[], $2::timestamptz[], $3::uuid[]) AS c (conversation, at, id)
		CROSS JOIN LATERAL (
			SELECT b.after_time, b.after_id, least(b.upto_time, c.at) AS upto_time,
			       CASE WHEN b.upto_time < c.at THEN b.upto_id WHEN b.upto_time = c.at THEN least(b.upto_id, c.id) ELSE c.id END AS upto_id
			FROM search_blocks b
			WHERE b.conversation = c.conversation AND b.upto_time >= $5 AND b.after_time <= $7 AND (` + strings.Join(may, " OR ") + `)
			UNION ALL
			SELECT c.at, c.id, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE c.at <= $7
		) b
	)
	SELECT x.* FROM spans s CROSS JOIN LATERAL (
		SELECT ` + messages.Columns + ` FROM messages m
		WHERE m.conversation = s.conversation
		  AND m.time >= greatest(s.after_time, $5) AND m.time <= least(s.upto_time, $7)
		  AND (m.time, m.id) > (s.after_time, s.after_id) AND (m.time, m.id) <= (s.upto_time, s.upto_id)
		  AND (m.time, m.id) >= ($5, $6::uuid) AND (m.time, m.id) < ($7, $8::uuid)
		  AND m.kind IN ('text', 'file') AND NOT m.recalled AND ($4::text = '' OR m.sender = $4)
		ORDER BY m.time DESC, m.id DESC LIMIT $9
	) x
	ORDER BY time DESC, id DESC LIMIT $9`
}

// IndexSearch brings the index of searches up to date for at most n
// conversations, those after the ones of the last call, and reports whether
// these were the last: the next call begins anew. Several may do it at once.
func (db *Store) IndexSearch(ctx context.Context, n int) (done bool, err error) {
	var after string
	err = db.QueryRow(ctx, `SELECT after FROM walks WHERE name = 'search-index'`).Scan(&after)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, postgres.Failed(err, "indexing messages")
	}
	rows, err := db.Query(ctx, waitingConversations, after, n, messages.Settled, enough)
	if err != nil {
		return false, postgres.Failed(err, "indexing messages")
	}
	var all, directs, waiting []string
	var c string
	var ready bool
	if _, err = pgx.ForEachRow(rows, []any{&c, &ready}, func() error {
		all = append(all, c)
		if ready {
			waiting = append(waiting, c)
		}
		if strings.HasPrefix(c, "d:") && db.Unlisted(c) {
			directs = append(directs, c)
		}
		return nil
	}); err != nil {
		return false, postgres.Failed(err, "indexing messages")
	}
	// They are, unless the database was restored to a time before that.
	if len(directs) > 0 {
		if err := db.ListDirect(ctx, directs); err != nil {
			return false, postgres.Failed(err, "indexing messages")
		}
	}
	for _, c := range waiting {
		for more := true; more; {
			if more, err = db.indexConversation(ctx, c); err != nil {
				return false, postgres.Failed(err, "indexing %s", c)
			}
		}
	}
	after = ""
	if len(all) == n {
		after = all[n-1]
	}
	_, err = db.Exec(ctx, `INSERT INTO walks (name, after) VALUES ('search-index', $1) ON CONFLICT (name) DO UPDATE SET after = $1`, after)
	return after == "", postgres.Failed(err, "indexing messages")
}

// enough is how many messages of a conversation are worth a write. Fewer are
// indexed when they are a day old.
const enough = 16

// From one conversation to the next by the primary key, and whether there is
// enough in each that is not indexed.
const waitingConversations = `
	WITH RECURSIVE walk AS (
		(SELECT conversation, 1 AS n FROM messages WHERE conversation > $1 ORDER BY conversation LIMIT 1)
		UNION ALL
		SELECT (SELECT m.conversation FROM messages m WHERE m.conversation > walk.conversation ORDER BY m.conversation LIMIT 1), walk.n + 1
		FROM walk WHERE walk.conversation IS NOT NULL AND walk.n < $2
	)
	SELECT w.conversation, coalesce(x.n >= $4 OR x.first < now() - interval '1 day', false)
	FROM walk w
	LEFT JOIN LATERAL (
		SELECT upto_time, upto_id FROM search_blocks b WHERE b.conversation = w.conversation ORDER BY seq DESC LIMIT 1) b ON true
	CROSS JOIN LATERAL (
		SELECT count(*) AS n, min(y.time) AS first FROM (
			SELECT m.time FROM messages m
			WHERE m.conversation = w.conversation AND m.time < now() - $3::interval
			  AND m.time >= coalesce(b.upto_time, '-infinity') 
			  AND (m.time, m.id) > (coalesce(b.upto_time, '-infinity'), coalesce(b.upto_id, '00000000-0000-0000-0000-000000000000'))
			ORDER BY m.time, m.id LIMIT $4) y) x
	WHERE w.conversation IS NOT NULL ORDER BY w.n`

// indexed is how many messages are indexed in one transaction, and of how many
// a block is at most.
const (
	maxAtOnce = 2000
	maxBlock  = 512
)

// indexConversation indexes messages of a conversation that follow those that
// are, and reports whether there may be more. Nothing is done if another does
// it, or if one of its messages is being changed.
func (db *Store) indexConversation(ctx context.Context, c string) (more bool, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var locked bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 5012))`, c).Scan(&locked); err != nil || !locked {
			return err
		}
		last, err := lastBlock(ctx, tx, c)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT `+messages.Columns+` FROM messages m
			WHERE m.conversation = $1 AND m.time >= $2 AND (m.time, m.id) > ($2, $3) AND m.time < now() - $4::interval
			ORDER BY m.time, m.id LIMIT $5`, c, last.uptoTime, last.uptoID, messages.Settled, maxAtOnce)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, messages.Scan)
		if err != nil || len(found) == 0 {
			return err
		}
		more = len(found) == maxAtOnce
		batch := &pgx.Batch{}
		write := func() {
			batch.Queue(`
				INSERT INTO search_blocks (conversation, seq, after_time, after_id, upto_time, upto_id, messages, filter)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (conversation, seq) DO UPDATE SET upto_time = $5, upto_id = $6, messages = $7, filter = search_blocks.filter | $8`,
				c, last.seq, last.afterTime, last.afterID, last.uptoTime, last.uptoID, last.messages, messages.Bits(&last.filter))
		}
		for _, m := range found {
			id, err := postgres.ParseUUID(m.ID)
			if err != nil {
				return err
			}
			var f words.Filter
			f.Add(messages.SearchText(m))
			f.Union(&last.filter)
			if last.messages > 0 && (last.messages >= maxBlock || f.Ones() > words.FullFilter) {
				write()
				last = block{seq: last.seq + 1, afterTime: last.uptoTime, afterID: last.uptoID}
				last.filter.Add(messages.SearchText(m))
			} else {
				last.filter = f
			}
			last.uptoTime, last.uptoID = m.Time.Std(), id
			last.messages++
		}
		write()
		// What it stood for is archived.
		batch.Queue(`
			DELETE FROM search_blocks b WHERE conversation = $1 AND upto_time < (
				SELECT m.time FROM messages m WHERE m.conversation = $1 ORDER BY m.time, m.id LIMIT 1)`, c)
		batch.Queue(`
			UPDATE search_blocks SET after_time = $2, after_id = $3
			WHERE conversation = $1 AND after_time <> $2 AND seq = (SELECT min(seq) FROM search_blocks WHERE conversation = $1)`,
			c, beforeAll, pgtype.UUID{Valid: true})
		return tx.SendBatch(ctx, batch).Close()
	})
	return more, err
}

// beforeAll is before the time of any message.
var beforeAll = im.Time(0).Std()

// block is a row of search_blocks.
type block struct {
	seq, messages       int
	afterTime, uptoTime time.Time
	afterID, uptoID     pgtype.UUID
	filter              words.Filter
}

// lastBlock returns the last block of a conversation, or an empty one that
// begins before all.
func lastBlock(ctx context.Context, tx pgx.Tx, c string) (block, error) {
	zero := pgtype.UUID{Valid: true}
	b := block{seq: 1, afterTime: beforeAll, uptoTime: beforeAll, afterID: zero, uptoID: zero}
	var filter pgtype.Bits
	err := tx.QueryRow(ctx, `
		SELECT seq, messages, after_time, after_id, upto_time, upto_id, filter FROM search_blocks
		WHERE conversation = $1 ORDER BY seq DESC LIMIT 1`, c).
		Scan(&b.seq, &b.messages, &b.afterTime, &b.afterID, &b.uptoTime, &b.uptoID, &filter)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, nil
	}
	copy(b.filter[:], filter.Bytes)
	return b, err
}
