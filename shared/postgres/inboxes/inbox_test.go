package inboxes_test

import (
	"fmt"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/inboxtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// The list of conversations costs what there are conversations, not what there
// are entries.
func TestP7TheListOfConversationsReadsNoEntriesInVain(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	const user, conversations, entries = "aaaaaaaaaaaaaaaa", 20, 40_000
	// Of each three entries one is another's, one the user's own and one quiet.
	if _, err := db.Exec(t.Context(), `
		INSERT INTO inbox (user_id, seq, message_id, message, conversation, class, quiet, revision)
		SELECT u, s, ('01890000-0000-7000-8000-' || lpad(s::text, 12, '0'))::uuid, '{}', 'g:' || (s % $2), s % 3, s % 3 = 0, 0
		FROM unnest(ARRAY[$1, 'bbbbbbbbbbbbbbbb']) AS u, generate_series(1, $3) AS s`, user, conversations, entries); err != nil {
		t.Fatal(err)
	}
	// Most have hardly any, which is what PostgreSQL believes of all.
	if _, err := db.Exec(t.Context(), `
		INSERT INTO inbox (user_id, seq, message_id, message, conversation, class, quiet, revision)
		SELECT lpad(s::text, 16, 'u'), 1, gen_random_uuid(), '{}', 'g:1', 2, false, 0 FROM generate_series(1, 50000) AS s`); err != nil {
		t.Fatal(err)
	}
	read := func() (n int64) {
		t.Helper()
		if _, err := db.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow(t.Context(), `
			SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'inbox') + seq_tup_read
			FROM pg_stat_user_tables WHERE relname = 'inbox'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	after := make(map[im.Conversation]string)
	for i := range conversations {
		after[im.Conversation(fmt.Sprint("g:", i))] = ""
	}
	keys := []im.EntryKey{
		{User: user, ID: "01890000-0000-7000-8000-000000000007", Conversation: "g:7"},
		{User: user, ID: "01890000-0000-7000-8000-000000000009", Conversation: "g:9"}, // a quiet one
	}
	for name, tt := range map[string]struct {
		most int64
		do   func() error
	}{
		"Latest": {3 * conversations, func() error {
			got, err := db.Inbox().Latest(t.Context(), user, 100)
			if len(got) != conversations {
				t.Errorf("%d conversations", len(got))
			}
			return err
		}},
		"Latest, limited": {3 * 5, func() error { _, err := db.Inbox().Latest(t.Context(), user, 5); return err }},
		"Newest":          {3, func() error { _, err := db.Inbox().Newest(t.Context(), user, "g:7"); return err }},
		"Unread": {conversations * 20, func() error {
			got, err := db.Inbox().Unread(t.Context(), user, after, 10)
			if got["g:7"] != 10 {
				t.Errorf("unread = %v", got)
			}
			return err
		}},
		"Get": {3, func() error {
			got, err := db.Inbox().Get(t.Context(), keys)
			if len(got) != len(keys) {
				t.Errorf("%d entries", len(got))
			}
			return err
		}},
		"Find": {3, func() error { _, err := db.Inbox().Find(t.Context(), keys); return err }},
		"Amend": {20, func() error {
			return db.Inbox().Amend(t.Context(), []im.Entry{{User: user, ID: keys[0].ID, Conversation: keys[0].Conversation, Revision: 1}})
		}},
	} {
		for try := range 15 { // PostgreSQL settles on a plan after five
			if try == 7 {
				if _, err := db.Exec(t.Context(), `ANALYZE`); err != nil {
					t.Fatal(err)
				}
			}
			before := read()
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			if n := read() - before; n > tt.most {
				t.Errorf("%s reads %d entries the %dth time, %d are enough", name, n, try+1, tt.most)
				break
			}
		}
	}
}

func TestInboxConforms(t *testing.T) {
	db := pgtest.Fresh(t)
	inboxtest.Run(t, func(t *testing.T) inboxtest.Store {
		if _, err := db.Exec(t.Context(), `TRUNCATE inbox`); err != nil {
			t.Fatal(err)
		}
		return db.Inbox()
	})
}
