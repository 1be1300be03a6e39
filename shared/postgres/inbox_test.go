package postgres

import (
	"database/sql"
	"fmt"
	"io/fs"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// Entries from before there were lists of conversations are in them.
func TestMigratingKeepsWhatInboxesHold(t *testing.T) {
	url := imtest.Postgres(t)
	conn, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, conn, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	ids := make([]string, 4)
	for i, message := range []string{
		`{"id":"%s","conversation":"` + string(c) + `","from":"` + bob + `","kind":"text","text":"from \"conversation\":\"g:x\" bob"}`,
		`{"id":"%s","conversation":"` + string(c) + `","from":"` + ann + `","kind":"text","text":"from ann"}`,
		`{"id":"%s","conversation":"` + string(c) + `","from":"` + bob + `","kind":"notice","data":{}}`,
		`{}`,
	} {
		ids[i] = im.NewMessageID(im.Time(1_000_000 * (i + 1)))
		if i < 3 {
			message = fmt.Sprintf(message, ids[i])
		}
		if _, err := conn.ExecContext(t.Context(), `INSERT INTO inbox VALUES ($1, $2, $3, $4)`, ann, i+1, ids[i], message); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}

	in := migrated(t, map[string]string{"POSTGRES_URL": url}).Inbox()
	var keys []im.EntryKey
	for i, id := range ids {
		k := im.EntryKey{User: ann, ID: id, Conversation: c}
		if i == 3 {
			k.Conversation = ""
		}
		keys = append(keys, k)
	}
	got, err := in.Get(t.Context(), keys)
	wants(t, err, "")
	for i, want := range []im.Class{im.ClassUnread, im.ClassShown, im.ClassShown, im.ClassQuiet} {
		e := got[keys[i]]
		if e.Class != want || e.Revision != 0 || e.Seq != int64(i+1) || (e.Conversation == c) != (i < 3) {
			t.Errorf("entry %d is %+v, want class %d", i, e, want)
		}
	}
	latest, err := in.Latest(t.Context(), ann, 10)
	wants(t, err, "")
	if len(latest) != 1 || latest[c] != ids[2] {
		t.Errorf("the list is %v", latest)
	}

	if _, err := provider.DownTo(t.Context(), 7); err != nil {
		t.Errorf("there is no way back: %v", err)
	}
}

// The list of conversations costs what there are conversations, not what there
// are entries.
func TestP7TheListOfConversationsReadsNoEntriesInVain(t *testing.T) {
	db := opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, Migrate), "POSTGRES_POOL": "1"}))
	const user, conversations, entries = "aaaaaaaaaaaaaaaa", 20, 40_000
	// Of each three entries one is another's, one the user's own and one quiet.
	if _, err := db.pool.Exec(t.Context(), `
		INSERT INTO inbox (user_id, seq, message_id, message, conversation, class, quiet, revision)
		SELECT u, s, ('01890000-0000-7000-8000-' || lpad(s::text, 12, '0'))::uuid, '{}', 'g:' || (s % $2), s % 3, s % 3 = 0, 0
		FROM unnest(ARRAY[$1, 'bbbbbbbbbbbbbbbb']) AS u, generate_series(1, $3) AS s`, user, conversations, entries); err != nil {
		t.Fatal(err)
	}
	// Most have hardly any, which is what PostgreSQL believes of all.
	if _, err := db.pool.Exec(t.Context(), `
		INSERT INTO inbox (user_id, seq, message_id, message, conversation, class, quiet, revision)
		SELECT lpad(s::text, 16, 'u'), 1, gen_random_uuid(), '{}', 'g:1', 2, false, 0 FROM generate_series(1, 50000) AS s`); err != nil {
		t.Fatal(err)
	}
	read := func() (n int64) {
		t.Helper()
		if _, err := db.pool.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
			t.Fatal(err)
		}
		if err := db.pool.QueryRow(t.Context(), `
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
				if _, err := db.pool.Exec(t.Context(), `ANALYZE`); err != nil {
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
