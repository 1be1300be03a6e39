package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	archived      = 1_000_000 // messages, in archiveGroups conversations and as many months as there are
	archivedQuick = 20_000
	archiveGroups = 500              // a user may be in 1000
	archiveBegins = 30 * time.Second // within which archive-history begins, if it does
	archiveEnds   = 10 * time.Minute
)

// archiveMonths are the months in which it was said, before this one: older
// than a year, so that an ARCHIVE_AFTER of that takes them.
var archiveMonths = []int{14, 15, 16, 17}

// archive measures how fast history is archived, and how fast pages of it open
// afterwards.
func (b *bench) archive(ctx context.Context) error {
	const name = "archive-history"
	if b.postgres == "" {
		b.asked.add("message-history, archived", "not measured: set POSTGRES_URL, for what is archived is put there first")
		return nil
	}
	users, err := b.crew.muster(ctx, 10)
	if err != nil {
		return err
	}
	db, err := pgx.Connect(ctx, b.postgres)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer db.Close(ctx)
	if _, err := db.Exec(ctx, `SET statement_timeout = 0`); err != nil {
		return err
	}
	a, err := seedArchive(ctx, db, users[7].ID, b.quick)
	if err != nil {
		return fmt.Errorf("preparing what is archived: %w", err)
	}
	if a.fresh {
		done, err := a.await(ctx)
		if err != nil {
			return fmt.Errorf("waiting for archive-history: %w", err)
		}
		if !done {
			b.report.add(name, "not measured: nothing was archived; start the server with ARCHIVE_URL (a bucket that is there), ARCHIVE_AFTER=8760h, and FUNCTION_TIMEOUT and CONNECTOR_TIMEOUT of minutes")
			return nil
		}
	}
	var rows, bytes int64
	var began, ended time.Time
	if err := db.QueryRow(ctx, `
		SELECT (SELECT sum(rows) FROM archive_parts WHERE starts = ANY($1)), (SELECT sum(bytes) FROM archive_parts WHERE starts = ANY($1)), min(detached), max(archived)
		FROM archives WHERE starts = ANY($1)`, a.starts).Scan(&rows, &bytes, &began, &ended); err != nil {
		return fmt.Errorf("reading the catalog: %w", err)
	}
	if !a.fresh {
		a.messages = int(rows)
	}
	if rows != int64(a.messages) {
		b.found.add("lost or doubled: %d messages are in the archive, and %d were to be", rows, a.messages)
	}
	note := fmt.Sprintf("%d bytes each in Parquet; each is written, read back and compared", bytes/max(rows, 1))
	if !a.fresh {
		note += "; in an earlier run"
	}
	b.report.add(fmt.Sprintf("%s: %s messages of %d months", name, thousands(int(rows)), len(archiveMonths)), fmt.Sprintf("**%s** archived", count(float64(rows)/ended.Sub(began).Seconds())), "", "", "", note)

	next := 0
	page := func(name, query string, want int) call {
		return call{name, "", func(ctx context.Context, ask asker) error {
			next = (next + 7919) % archiveGroups // others than the last time
			answer, err := ask(ctx, users[7], http.MethodGet, "/v1/conversations/"+string(im.Group(archiveGroup(next)))+"/messages?limit=50"+query, nil)
			return has(answer, err, "messages", want)
		}}
	}
	each := min(50, a.messages/len(archiveMonths)/archiveGroups*len(archiveMonths))
	return b.askAll(ctx, []call{
		page(fmt.Sprintf("message-history: the oldest page, of %s archived messages", thousands(int(rows))), "&after="+cursor.Encode(cursor.Message{Time: 1, ID: zeroID}), each),
		page("message-history: the newest page, which is archived", "", each),
		page("message-history: a page before all there is", "&before="+cursor.Encode(cursor.Message{Time: im.TimeOf(a.starts[len(a.starts)-1]), ID: zeroID}), 0),
	})
}

// An old is history that is to be archived.
type old struct {
	db       *pgx.Conn
	messages int
	starts   []time.Time // of its months, the last one first
	fresh    bool        // it was put there just now
}

func archiveGroup(n int) string { return "archivedg" + letterID(n, 7) }

// seedArchive puts messages into months that are long over, in groups of a
// user, unless these months are archived already.
func seedArchive(ctx context.Context, db *pgx.Conn, me string, quick bool) (*old, error) {
	a := &old{db: db, messages: archived}
	if quick {
		a.messages = archivedQuick
	}
	groups := make([]string, archiveGroups)
	for i := range groups {
		groups[i] = archiveGroup(i)
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO groups (id, name, owner_id, created) SELECT i, 'Bench', $2, now() FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, groups, me)
	batch.Queue(`INSERT INTO group_members (group_id, user_id, role, joined) SELECT i, $2, 'member', now() FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING`, groups, me)
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	for _, months := range archiveMonths {
		a.starts = append(a.starts, time.Date(now.Year(), now.Month()-time.Month(months), 1, 0, 0, 0, 0, time.UTC))
	}
	var had int
	if err := db.QueryRow(ctx, `SELECT count(*) FROM archives WHERE starts = ANY($1)`, a.starts).Scan(&had); err != nil || had == len(a.starts) {
		return a, err
	}
	a.fresh = true
	// All of it is there at once: archive-history may come by at any time.
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for _, starts := range a.starts {
			if err := a.fill(ctx, tx, starts, groups); err != nil {
				return err
			}
		}
		return nil
	})
	return a, err
}

// fill makes a partition of a month, unless there is one or it is archived.
func (a *old) fill(ctx context.Context, tx pgx.Tx, starts time.Time, groups []string) error {
	table := "messages_" + starts.Format("2006_01")
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL OR EXISTS (SELECT FROM archives WHERE starts = $2)`, table, starts).Scan(&there); err != nil || there {
		return err
	}
	if _, err := tx.Exec(ctx, `CREATE TABLE `+table+` (LIKE messages INCLUDING ALL)`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO `+table+` (conversation, time, id, sender, client_id, kind, text)
		SELECT 'g:' || ($3::text[])[1 + i % $4], t, (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7000' || lpad(to_hex(i), 16, '8'))::uuid,
			'archivedbyarchiv', 'c' || i, 'text', 'message ' || i || ' ' || md5(i::text) || md5((i + 1)::text) || ' of a conversation'
		FROM generate_series(1, $2::int) AS i, LATERAL (SELECT $1::timestamptz + i * interval '8 seconds' AS t) AS x`,
		starts, a.messages/len(archiveMonths), groups, len(groups)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE messages ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`, table, starts.Format(time.RFC3339), starts.AddDate(0, 1, 0).Format(time.RFC3339)))
	return err
}

// await waits until all is archived, and reports whether it was.
func (a *old) await(ctx context.Context) (bool, error) {
	counted := func(where string) (n int, err error) {
		err = a.db.QueryRow(ctx, `SELECT count(*) FROM archives WHERE starts = ANY($1) AND `+where, a.starts).Scan(&n)
		return n, err
	}
	for _, step := range []struct {
		where string
		n     int
		most  time.Duration
	}{{"true", 1, archiveBegins}, {"archived IS NOT NULL", len(a.starts), archiveEnds}} {
		var err error
		done, waitErr := wait(ctx, step.most, func() bool {
			var n int
			n, err = counted(step.where)
			return err != nil || n >= step.n
		})
		if err != nil || waitErr != nil || !done {
			return false, errors.Join(err, waitErr)
		}
	}
	return true, nil
}
