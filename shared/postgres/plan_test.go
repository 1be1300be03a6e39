package postgres

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

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
		`INSERT INTO relation_versions SELECT least(user_id, blocked_id), greatest(user_id, blocked_id), 1 FROM blocks`,
		`INSERT INTO groups SELECT 'grup' || right(id, 12), 'g', id, 1, now() FROM users WHERE right(id, 1) = '0'`,
		`INSERT INTO group_members SELECT g.id, u.id, 'member', now() FROM groups g JOIN users u ON right(u.id, 3) = right(g.id, 3)`,
		`INSERT INTO sessions SELECT 'sess' || right(id, 12), id, 'd', 'web', now() FROM users`,
		`INSERT INTO refresh_tokens SELECT sha256(id::bytea), id, now() + interval '1 day' FROM sessions`,
		`INSERT INTO inbox SELECT id, s, gen_random_uuid(), '{}', 'g:' || s % 3, s % 3, 0 FROM users, generate_series(1, 5) s`,
		`UPDATE users SET email = id || '@b.c', phone = '+49' || right(id, 12), find_by_email = true, find_by_phone = true`,
		`UPDATE sessions SET ended = now(), told = right(id, 1) <> '1' WHERE right(id, 1) IN ('1', '2')`,
		`INSERT INTO erasures SELECT id, now(), now() + interval '1 hour' FROM users WHERE right(id, 1) <> '0'`,
		`INSERT INTO deleted_messages SELECT user_id, conversation, message_id FROM inbox`,
		`INSERT INTO conversation_states SELECT user_id, 'g:' || s % 3, message_id FROM inbox i, generate_series(1, 3) s WHERE i.seq = s`,
		`INSERT INTO messages SELECT 'g:' || g.id, now() + s * interval '1 day', gen_random_uuid(), g.owner_id, 'c', 'text', 'x' FROM groups g, generate_series(-60, 60) s`,
		`INSERT INTO reactions SELECT conversation, id, sender, 'x' FROM messages`,
		`INSERT INTO reaction_counts SELECT conversation, message_id, emoji, 1 FROM reactions`,
		`INSERT INTO outbox SELECT 'notice-' || id, now() - interval '1 hour', gen_random_uuid(), now(), '{}' FROM users`,
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
			"Pending":       func() error { _, _, err := db.Pending(ctx, time.Minute, im.Pending{}, 100); return err },
			"Published":     func() error { return db.Published(ctx, []string{fmt.Sprintf("notice-user%012d", i)}) },
			"SetAside":      func() error { return db.SetAside(ctx, fmt.Sprintf("notice-user%012d", 100+i), im.Invalid) },
			"UserByAccount": func() error { _, _, err := db.UserByAccount(ctx, user); return err },
			"EndSession":    func() error { return db.EndSession(ctx, "user000000000001", "sess000000000001") },
			"Relations": func() error {
				_, err := db.Relations(ctx, []im.Pair{{A: users[0], B: users[1]}, {A: users[1], B: users[2]}})
				return err
			},
			"SeenBy":        func() error { _, err := db.SeenBy(ctx, user, users); return err },
			"Watchers":      func() error { _, err := db.Watchers(ctx, users, 500); return err },
			"Self":          func() error { return second(db.Self(ctx, user)) },
			"Profile":       func() error { return second(db.Profile(ctx, user)) },
			"UpdateUser":    func() error { return second(db.UpdateUser(ctx, user, im.UserChange{Bio: new(string)})) },
			"FindByAccount": func() error { return second(db.FindByAccount(ctx, user)) },
			"FindByEmail":   func() error { return second(db.FindByEmail(ctx, user, user+"@b.c")) },
			"FindByPhone":   func() error { return second(db.FindByPhone(ctx, user, "+49000000000010")) },
			"Sessions":      func() error { return second(db.Sessions(ctx, user, 100)) },
			"Told":          func() error { return db.Told(ctx, []string{"sess000000000001"}) },
			"Untold":        func() error { return second(db.Untold(ctx, time.Minute, 500)) },
			"SweepTokens":   func() error { return second(db.SweepTokens(ctx, 500)) },
			"SweepSessions": func() error { return second(db.SweepSessions(ctx, 30*24*time.Hour, 500)) },
			"DueErasures":   func() error { return second(db.DueErasures(ctx, 500)) },
			"EraseUser":     func() error { return db.EraseUser(ctx, fmt.Sprintf("user%012d", 6000+i)) },
			"ForgetUser": func() error {
				return attempt(ctx, db, func(ctx context.Context, tx *Tx) error {
					_, _, err := tx.ForgetUser(ctx, fmt.Sprintf("user%012d", 7000+10*i), "")
					return err
				})
			},
			"CreateSession": func() error {
				s := im.Session{ID: im.NewID(), User: user, Device: "d", Platform: "web", Created: now}
				return second(db.CreateSession(ctx, s, "", token(s.ID), later(), 2))
			},
			"ChangePassword": func() error { return second(db.ChangePassword(ctx, users[1], "", "", "")) },
			"RotateRefresh": func() error {
				return second(db.RotateRefresh(ctx, token(fmt.Sprintf("sess%012d", 8000+10*i)), token(fmt.Sprint("next", i)), later(), time.Minute))
			},
			"GroupMembers":  func() error { _, err := db.GroupMembers(ctx, []string{group, "grup000000000020"}); return err },
			"IsMember":      func() error { _, err := db.IsMember(ctx, group, user); return err },
			"AppendHistory": func() error { return db.AppendHistory(ctx, []im.Message{m}) },
			"AmendHistory": func() error {
				m.Revision, m.Recalled = 1, true
				return db.AmendHistory(ctx, []im.Message{m, m})
			},
			"ChangedMessages": func() error {
				return second(db.ChangedMessages(ctx, []im.EntryKey{{ID: m.ID, Conversation: m.Conversation}, {ID: im.NewMessageID(now), Conversation: "g:1"}}))
			},
			"DeletedMessages": func() error {
				return second(db.DeletedMessages(ctx, []im.EntryKey{e.Key(), {User: users[1], ID: m.ID, Conversation: "g:1"}}))
			},
			"History":      func() error { _, err := db.History(ctx, m.Conversation, user, im.Place{}, false, 20); return err },
			"History back": func() error { _, err := db.History(ctx, m.Conversation, user, m.Place(), true, 20); return err },
			"Insert":       func() error { _, err := db.Inbox().Insert(ctx, []im.Entry{e}); return err },
			"Heads":        func() error { _, err := db.Inbox().Heads(ctx, users); return err },
			"Find": func() error {
				_, err := db.Inbox().Find(ctx, []im.EntryKey{e.Key(), {User: users[1], ID: m.ID}})
				return err
			},
			"After":  func() error { _, err := db.Inbox().After(ctx, user, 2, 100); return err },
			"Get":    func() error { _, err := db.Inbox().Get(ctx, []im.EntryKey{e.Key()}); return err },
			"Latest": func() error { _, err := db.Inbox().Latest(ctx, user, 1000); return err },
			"Newest": func() error { _, err := db.Inbox().Newest(ctx, user, "g:1"); return err },
			"Unread": func() error {
				_, err := db.Inbox().Unread(ctx, user, map[im.Conversation]string{"g:1": "", "g:2": m.ID}, 1000)
				return err
			},
			"Amend": func() error {
				return db.Inbox().Amend(ctx, []im.Entry{{User: user, ID: m.ID, Revision: 1}, {User: users[1], ID: m.ID, Revision: 1}})
			},
			"Erase": func() error { return db.Inbox().Erase(ctx, fmt.Sprintf("user%012d", 5000+i)) },
			"ConversationStates": func() error {
				_, err := db.ConversationStates(ctx, user, []im.Conversation{"g:1", "g:2"})
				return err
			},
			"MarkRead": func() error {
				return attempt(ctx, db, func(ctx context.Context, tx *Tx) error { _, _, err := tx.MarkRead(ctx, user, "g:1", m.ID); return err })
			},
			"ChangeConversation": func() error {
				pinned := i%2 == 0
				return attempt(ctx, db, func(ctx context.Context, tx *Tx) error {
					_, _, err := tx.ChangeConversation(ctx, user, "g:1", im.ConversationChange{Pinned: &pinned})
					return err
				})
			},
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
