package messages

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/words"
)

// remembered are conversations that are known to be listed: the last ones, so
// that those in which most is said are not listed again with each message.
type remembered struct {
	mu        sync.Mutex
	now, last map[string]bool
}

const maxRemembered = 1 << 15

func (r *remembered) has(c string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now[c] {
		return true
	}
	if r.last[c] {
		r.put(c)
		return true
	}
	return false
}

func (r *remembered) add(all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range all {
		r.put(c)
	}
}

func (r *remembered) put(c string) {
	if r.now == nil || len(r.now) >= maxRemembered {
		r.now, r.last = make(map[string]bool), r.now
	}
	r.now[c] = true
}

// listDirect lists the direct conversations of messages, which are sorted, for
// their users. It comes before the messages: what is listed and has none is
// found to have none.
func (db *Store) listDirect(ctx context.Context, messages []im.Message) error {
	var fresh []string
	for _, m := range messages {
		c := string(m.Conversation)
		if a, _ := m.Conversation.Users(); a != "" && !slices.Contains(fresh, c) && db.Unlisted(c) {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return postgres.Failed(db.ListDirect(ctx, fresh), "listing %d conversations", len(fresh))
}

// Unlisted reports whether a direct conversation may not be listed for its users.
func (db *Store) Unlisted(c string) bool { return !db.listed.has(c) }

// ListDirect lists direct conversations for their users, each of which may be
// already. Its error is that of pgx.
func (db *Store) ListDirect(ctx context.Context, fresh []string) error {
	_, err := db.Exec(ctx, listDirect, fresh)
	if err == nil {
		db.listed.add(fresh)
	}
	return err
}

// In one order, so that no two wait for each other's rows.
const listDirect = `
	INSERT INTO direct_conversations (user_id, conversation)
	SELECT u, c FROM unnest($1::text[]) AS c CROSS JOIN LATERAL unnest(ARRAY[split_part(c, ':', 2), split_part(c, ':', 3)]) AS u
	ORDER BY u, c ON CONFLICT DO NOTHING`

// Messages that are younger than settled are not indexed. What is inserted when
// it is older than late may have been overtaken by the index. The difference is
// for clocks that differ, and for transactions that take their time.
const (
	Settled = 15 * time.Minute
	late    = 5 * time.Minute
)

// lockSearch keeps conversations from being indexed until the transaction ends;
// many may hold it. What is read after it sees all that was indexed before.
const lockSearch = `
	SELECT pg_advisory_xact_lock_shared(h) FROM (SELECT DISTINCT hashtextextended(c, 5012) AS h FROM unnest($1::text[]) AS c ORDER BY h) x`

const addToBlock = `
	UPDATE search_blocks SET filter = filter | $4
	WHERE conversation = $1 AND (after_time, after_id) < ($2, $3) AND (upto_time, upto_id) >= ($2, $3) AND filter & $4 <> $4`

// indexLate adds to the index those messages, which are committed, that came
// so late that it may have overtaken them. That it is done again does no harm,
// and it is when what was being done comes again.
func (db *Store) indexLate(ctx context.Context, messages []im.Message) error {
	before := im.TimeOf(time.Now().Add(-late))
	var old []im.Message
	var conversations []string
	var at []time.Time
	var ids []pgtype.UUID
	for _, m := range messages {
		if m.Time >= before || SearchText(m) == "" {
			continue
		}
		id, err := postgres.ParseUUID(m.ID)
		if err != nil {
			return err
		}
		old, conversations, at, ids = append(old, m), append(conversations, string(m.Conversation)), append(at, m.Time.Std()), append(ids, id)
	}
	if len(old) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSearch, conversations); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT k.n FROM unnest($1::text[], $2::timestamptz[], $3::uuid[]) WITH ORDINALITY AS k (c, t, i, n)
			CROSS JOIN LATERAL (
				SELECT b.upto_time, b.upto_id FROM search_blocks b WHERE b.conversation = k.c ORDER BY b.seq DESC LIMIT 1) AS b
			WHERE (b.upto_time, b.upto_id) >= (k.t, k.i)`, conversations, at, ids)
		if err != nil {
			return err
		}
		overtaken, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(overtaken) == 0 {
			return err
		}
		slices.Sort(overtaken) // in one order, so that no two wait for each other's rows
		batch := &pgx.Batch{}
		for _, n := range overtaken {
			var f words.Filter
			f.Add(SearchText(old[n-1]))
			batch.Queue(addToBlock, conversations[n-1], at[n-1], ids[n-1], Bits(&f))
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return postgres.Failed(err, "indexing %d messages that came late", len(old))
}

// queueIndex has the new text of a message indexed in the transaction of its
// change, in which it was locked before.
func queueIndex(batch *pgx.Batch, m im.Message, id pgtype.UUID) {
	text := SearchText(m)
	if text == "" {
		return
	}
	var f words.Filter
	f.Add(text)
	batch.Queue(lockSearch, []string{string(m.Conversation)})
	batch.Queue(addToBlock, string(m.Conversation), m.Time.Std(), id, Bits(&f))
}

// SearchText returns what of a message can be found.
func SearchText(m im.Message) string {
	if m.Recalled {
		return ""
	}
	return words.TextOf(m)
}

// Bits returns a filter as a column has it.
func Bits(f *words.Filter) pgtype.Bits {
	return pgtype.Bits{Bytes: slices.Clone(f[:]), Len: words.FilterBits, Valid: true} // it is sent later than it is handed over
}
