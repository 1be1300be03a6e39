package postgres_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Entries from before there were lists of conversations are in them.
func TestMigratingKeepsWhatInboxesHold(t *testing.T) {
	url := imtest.Postgres(t)
	conn, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files, err := fs.Sub(postgres.Migrations, "migrations")
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

	in := pgtest.Migrated(t, map[string]string{"POSTGRES_URL": url}).Inbox()
	var keys []im.EntryKey
	for i, id := range ids {
		k := im.EntryKey{User: ann, ID: id, Conversation: c}
		if i == 3 {
			k.Conversation = ""
		}
		keys = append(keys, k)
	}
	got, err := in.Get(t.Context(), keys)
	pgtest.Wants(t, err, "")
	for i, want := range []im.Class{im.ClassUnread, im.ClassShown, im.ClassShown, im.ClassQuiet} {
		e := got[keys[i]]
		if e.Class != want || e.Revision != 0 || e.Seq != int64(i+1) || (e.Conversation == c) != (i < 3) {
			t.Errorf("entry %d is %+v, want class %d", i, e, want)
		}
	}
	latest, err := in.Latest(t.Context(), ann, 10)
	pgtest.Wants(t, err, "")
	if len(latest) != 1 || latest[c] != ids[2] {
		t.Errorf("the list is %v", latest)
	}

	if _, err := provider.DownTo(t.Context(), 7); err != nil {
		t.Errorf("there is no way back: %v", err)
	}
}
