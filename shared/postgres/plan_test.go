package postgres

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// TestQueriesReadIndexes calls everything often enough for PostgreSQL to
// settle on its plans, on tables large enough for a scan to be wrong, and asks
// the server how often it has walked through a table.
func TestQueriesReadIndexes(t *testing.T) {
	db := migrated(t, map[string]string{"POSTGRES_URL": imtest.Postgres(t), "POSTGRES_POOL": "1"})
	ctx := t.Context()
	for _, sql := range []string{
		`INSERT INTO users SELECT s, s, s, '' FROM (SELECT 'user' || lpad(i::text, 12, '0') AS s FROM generate_series(0, 9999) i) x`,
		`INSERT INTO blocks SELECT id, lag(id) OVER (ORDER BY id) FROM users OFFSET 1`,
		`INSERT INTO friendships SELECT user_id, blocked_id FROM blocks`,
		`INSERT INTO groups SELECT 'grup' || right(id, 12), 'g', id, 1, now() FROM users WHERE right(id, 1) = '0'`,
		`INSERT INTO group_members SELECT g.id, u.id, 'member', now() FROM groups g JOIN users u ON right(u.id, 3) = right(g.id, 3)`,
		`INSERT INTO sessions SELECT 'sess' || right(id, 12), id, 'd', 'web', now() FROM users`,
		`INSERT INTO refresh_tokens SELECT sha256(id::bytea), id, now() + interval '1 day' FROM sessions`,
		`INSERT INTO inbox SELECT id, s, gen_random_uuid(), '{}' FROM users, generate_series(1, 5) s`,
		`INSERT INTO messages SELECT 'g:' || g.id, now() + s * interval '1 day', gen_random_uuid(), g.owner_id, 'c', 'text', 'x' FROM groups g, generate_series(-60, 60) s`,
		`ANALYZE`,
	} {
		if _, err := db.pool.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const user, group = "user000000000010", "grup000000000010"
	users := []string{user, "user000000000011", "user000000000012"}
	before := scans(t, db)
	for i := range int64(10) {
		now := im.Now()
		m := said(im.Group(group), user, now, "x")
		e := im.Entry{User: user, Seq: 6 + i, ID: m.ID, Message: []byte("{}")}
		steps := map[string]func() error{
			"UserByAccount": func() error { _, _, err := db.UserByAccount(ctx, user); return err },
			"EndSession":    func() error { return db.EndSession(ctx, "sess000000000001") },
			"Relations": func() error {
				_, err := db.Relations(ctx, []im.Pair{{A: users[0], B: users[1]}, {A: users[1], B: users[2]}})
				return err
			},
			"GroupMembers":  func() error { _, err := db.GroupMembers(ctx, []string{group, "grup000000000020"}); return err },
			"IsMember":      func() error { _, err := db.IsMember(ctx, group, user); return err },
			"AppendHistory": func() error { return db.AppendHistory(ctx, []im.Message{m}) },
			"History":       func() error { _, err := db.History(ctx, m.Conversation, im.Place{}, false, 20); return err },
			"History back":  func() error { _, err := db.History(ctx, m.Conversation, m.Place(), true, 20); return err },
			"Insert":        func() error { _, err := db.Inbox().Insert(ctx, []im.Entry{e}); return err },
			"Heads":         func() error { _, err := db.Inbox().Heads(ctx, users); return err },
			"Find": func() error {
				_, err := db.Inbox().Find(ctx, []im.EntryKey{e.Key(), {User: users[1], ID: m.ID}})
				return err
			},
			"After": func() error { _, err := db.Inbox().After(ctx, user, 2, 100); return err },
		}
		for name, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			after := scans(t, db)
			for table, n := range after {
				if n != before[table] {
					t.Errorf("%s walks through %s", name, table)
				}
			}
			before = maps.Clone(after)
		}
	}
}

// scans returns how often each table has been read from end to end.
func scans(t *testing.T, db *DB) map[string]int64 {
	t.Helper()
	if _, err := db.pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
		t.Fatal(err)
	}
	rows, err := db.pool.Query(t.Context(), `SELECT relname, seq_scan FROM pg_stat_user_tables`)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int64)
	var table string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &n}, func() error { found[table] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}
