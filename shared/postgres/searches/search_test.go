package searches_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/words"
)

const aDay = im.Time(24 * time.Hour / time.Microsecond)

// everything is a stretch that is all time.
func everything(t *testing.T, q string, limit int) words.Stretch {
	t.Helper()
	query, err := words.Parse(q)
	if err != nil {
		t.Fatal(err)
	}
	return words.Stretch{To: im.Place{Time: im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, Filters: query.Filters(), Limit: limit, Bytes: 64 << 20}
}

func indexed(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for {
		done, err := db.IndexSearch(t.Context(), 3)
		pgtest.Wants(t, err, "")
		if done {
			return
		}
	}
}

// candidates returns the texts of the messages that may match.
func candidates(t *testing.T, db *pgtest.DB, user string, c im.Conversation, q string) []string {
	t.Helper()
	scopes, err := db.SearchScope(t.Context(), user, c)
	pgtest.Wants(t, err, "")
	messages, _, err := db.SearchMessages(t.Context(), scopes, everything(t, q, 1000))
	pgtest.Wants(t, err, "")
	var texts []string
	for _, m := range messages {
		texts = append(texts, m.Text)
	}
	return texts
}

func TestP6SearchScope(t *testing.T) {
	db := pgtest.Fresh(t)
	users := pgtest.People(t, db, 3)
	ann, bob, cem := users[0], users[1], users[2]
	group, other := im.NewID(), im.NewID()
	for _, g := range []string{group, other} {
		if _, err := db.Exec(t.Context(), `INSERT INTO groups (id, name, owner_id, created) VALUES ($1, 'g', $2, now())`, g, ann); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO group_members (group_id, user_id, role, joined) VALUES ($1, $2, 'owner', now()), ($3, $4, 'owner', now())`, group, ann, other, cem); err != nil {
		t.Fatal(err)
	}
	d := im.Direct(ann, bob)
	pgtest.Kept(t, db, pgtest.Said(d, ann, im.Now(), "x"), pgtest.Said(im.Group(group), ann, im.Now(), "x"), pgtest.Said(im.Direct(bob, cem), bob, im.Now(), "x"))
	for _, tt := range []struct {
		name, user string
		c          im.Conversation
		want       []im.Conversation
	}{
		{"all that one is in", ann, "", []im.Conversation{d, im.Group(group)}},
		{"both users of a direct conversation are", bob, "", []im.Conversation{d, im.Direct(bob, cem)}},
		{"one of them", ann, d, []im.Conversation{d}},
		{"one's group", ann, im.Group(group), []im.Conversation{im.Group(group)}},
		{"the group of others", ann, im.Group(other), nil},
		{"a group that there is not", ann, im.Group(im.NewID()), nil},
		{"the conversation of others", ann, im.Direct(bob, cem), nil},
		{"nobody", im.NewID(), "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scopes, err := db.SearchScope(t.Context(), tt.user, tt.c)
			pgtest.Wants(t, err, "")
			var got []im.Conversation
			for _, s := range scopes {
				got = append(got, s.Conversation)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("may search %v, want %v", got, tt.want)
			}
		})
	}
	if _, err := db.Exec(t.Context(), `DELETE FROM group_members WHERE user_id = $1`, ann); err != nil {
		t.Fatal(err)
	}
	if scopes, err := db.SearchScope(t.Context(), ann, ""); err != nil || len(scopes) != 1 {
		t.Errorf("who was in a group may search %v, %v", scopes, err)
	}
}

// TestSearchMissesNothing says, edits, recalls and indexes at random, and holds
// what is found against what there is.
func TestSearchMissesNothing(t *testing.T) {
	db := pgtest.Fresh(t)
	random := rand.New(rand.NewPCG(1, 2))
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	vocabulary := []string{"明天", "会议", "好的", "hello", "meeting", "カメラ", "학교", "naïve", "x1", "👍"}
	var all []im.Message
	texts := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(vocabulary[random.IntN(len(vocabulary))] + " " + fmt.Sprint(random.IntN(5000)) + " ")
		}
		return b.String()
	}
	year := 365 * aDay
	for round := range 8 {
		var batch []im.Message
		for range 250 {
			at := im.Now() - im.Time(8-round)*year/8 + im.Time(random.Int64N(int64(year/8)))
			switch random.IntN(10) {
			case 0: // late
				at -= im.Time(random.Int64N(int64(at - im.Now() + year + 1)))
			case 1: // new, so not indexed
				at = im.Now() - im.Time(random.Int64N(1e8))
			}
			batch = append(batch, pgtest.Said(c, []string{ann, bob}[random.IntN(2)], at, texts(1+random.IntN(20))))
		}
		pgtest.Kept(t, db, batch...)
		all = append(all, batch...)
		for range 20 {
			m := &all[random.IntN(len(all))]
			if m.Recalled {
				continue
			}
			m.Revision++
			if random.IntN(3) == 0 {
				*m = pgtest.Empty(*m)
			} else {
				m.Text, m.Edited = texts(5)+" edited", im.Now()
			}
			now := *m
			if random.IntN(2) == 0 {
				pgtest.Wants(t, db.AmendHistory(t.Context(), []im.Message{now}), "")
			} else {
				pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, now) })
			}
		}
		if round%2 == 0 {
			indexed(t, db)
		}
		for _, q := range []string{"明天", "会", "meet", "edited", "カメラ 학교", "naive", "👍", fmt.Sprint(random.IntN(5000)), "x1 hello 好的"} {
			query, err := words.Parse(q)
			pgtest.Wants(t, err, "")
			want := make(map[string]bool)
			for _, m := range all {
				if _, ok := query.Match(m.Text); ok && !m.Recalled {
					want[m.ID] = true
				}
			}
			scopes, err := db.SearchScope(t.Context(), bob, "")
			pgtest.Wants(t, err, "")
			messages, _, err := db.SearchMessages(t.Context(), scopes, everything(t, q, 10_000))
			pgtest.Wants(t, err, "")
			got := make(map[string]bool)
			for _, m := range messages {
				if _, ok := query.Match(m.Text); ok {
					if got[m.ID] {
						t.Fatalf("%s is found twice", m.ID)
					}
					got[m.ID] = true
				}
			}
			if !maps.Equal(got, want) {
				t.Fatalf("round %d: %q finds %d, want %d", round, q, len(got), len(want))
			}
		}
	}
	var blocks, inBlocks int
	if err := db.QueryRow(t.Context(), `SELECT count(*), sum(messages) FROM search_blocks`).Scan(&blocks, &inBlocks); err != nil {
		t.Fatal(err)
	}
	if blocks < 3 || inBlocks < 500 {
		t.Errorf("%d messages are in %d blocks: it was tried with too few", inBlocks, blocks)
	}
}

func TestTheIndexFollows(t *testing.T) {
	db := pgtest.Fresh(t)
	ann := im.NewID()
	c := im.Direct(ann, im.NewID())
	old := im.Now() - 3*aDay
	var all []im.Message
	for i := range 300 {
		all = append(all, pgtest.Said(c, ann, old+im.Time(i)*2, fmt.Sprintf("ordinary words number %d", i)))
	}
	pgtest.Kept(t, db, all...)
	if got := candidates(t, db, ann, c, "zebra"); len(got) != 300 {
		t.Fatalf("before there is an index %d are looked at, want all", len(got))
	}
	indexed(t, db)
	if got := candidates(t, db, ann, c, "zebra"); len(got) > 0 {
		t.Fatalf("%d are looked at although none of them has it", len(got))
	}
	has := func(what, q, want string) {
		t.Helper()
		if got := candidates(t, db, ann, c, q); !slices.Contains(got, want) {
			t.Errorf("%s: not among %d", what, len(got))
		}
	}
	edited := all[100]
	edited.Text, edited.Revision = "a zebra", 1
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, edited) })
	has("edited", "zebra", "a zebra")
	late := pgtest.Said(c, ann, old+101, "an okapi")
	pgtest.Kept(t, db, late)
	has("came late", "okapi", "an okapi")
	pgtest.Kept(t, db, late) // again
	first := pgtest.Said(c, ann, old-5*aDay, "a giraffe")
	pgtest.Kept(t, db, first)
	has("came before all", "giraffe", "a giraffe")
	fresh := pgtest.Said(c, ann, im.Now(), "a lion")
	pgtest.Kept(t, db, fresh)
	has("is new", "lion", "a lion")
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, pgtest.Empty(edited)) })
	if got := candidates(t, db, ann, c, "zebra"); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "zebra") }) {
		t.Error("what was recalled is found")
	}
}

// TestWhatIsBeingEditedIsNotIndexed: an edit that has not been committed and the
// indexing of what it edits keep out of each other's way.
func TestWhatIsBeingEditedIsNotIndexed(t *testing.T) {
	db := pgtest.Fresh(t)
	ann := im.NewID()
	c := im.Direct(ann, im.NewID())
	var all []im.Message
	for i := range 50 {
		all = append(all, pgtest.Said(c, ann, im.Now()-aDay-im.Time(i), "words"))
	}
	pgtest.Kept(t, db, all...)
	edited := all[10]
	edited.Text, edited.Revision = "a zebra", 1
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if err := tx.AmendMessage(ctx, edited); err != nil {
			return err
		}
		more, err := db.IndexConversation(ctx, string(c))
		if more {
			t.Error("indexed")
		}
		return err
	})
	indexed(t, db)
	if got := candidates(t, db, ann, c, "zebra"); !slices.Contains(got, "a zebra") {
		t.Errorf("found %q", got)
	}
}

func TestSearchingReadsIndexes(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	for _, sql := range []string{
		`INSERT INTO users (id, account, name, password) SELECT s, s, s, '' FROM (SELECT 'user' || lpad(i::text, 12, '0') AS s FROM generate_series(0, 2999) i) x`,
		`INSERT INTO groups (id, name, owner_id, created) SELECT 'grup' || right(id, 12), 'g', id, now() FROM users WHERE right(id, 1) = '0'`,
		`INSERT INTO group_members (group_id, user_id, role, joined) SELECT g.id, u.id, 'member', now() FROM groups g JOIN users u ON right(u.id, 2) = right(g.id, 2)`,
		`INSERT INTO messages (conversation, time, id, sender, client_id, kind, text)
		 SELECT 'g:' || g.id, now() - s * interval '1 day', gen_random_uuid(), g.owner_id, 'c', 'text', 'words ' || s FROM groups g, generate_series(1, 60) s`,
		`INSERT INTO direct_conversations SELECT u.id, 'd:' || u.id || ':' || i FROM users u, generate_series(1, 10) i`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	indexed(t, db)
	if _, err := db.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	// At the beginning of a month its partition has so few rows that walking is right.
	few := make(map[string]bool)
	rows, err := db.Query(t.Context(), `SELECT relname FROM pg_class WHERE relname LIKE 'messages\_%' AND reltuples < 3000`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		few[name] = true
	}
	const user, group = "user000000000010", "grup000000000010"
	before := pgtest.Scans(t, db)
	for range 10 {
		m := pgtest.Said(im.Group(group), user, im.Now()-aDay, "late")
		steps := map[string]func() error{
			"SearchScope":        func() error { return pgtest.Second(db.SearchScope(t.Context(), user, "")) },
			"SearchScope of one": func() error { return pgtest.Second(db.SearchScope(t.Context(), user, im.Group(group))) },
			"SearchMessages": func() error {
				scopes, err := db.SearchScope(t.Context(), user, "")
				if err != nil || len(scopes) < 20 {
					t.Fatal(len(scopes), err)
				}
				got, _, err := db.SearchMessages(t.Context(), scopes, everything(t, "words", 100))
				if len(got) != 100 {
					t.Errorf("found %d", len(got))
				}
				return err
			},
			"ExplainSearch": func() error {
				scopes, err := db.SearchScope(t.Context(), user, "")
				if err != nil {
					return err
				}
				plan, err := db.ExplainSearch(t.Context(), scopes, everything(t, "words", 100))
				if !bytes.Contains(plan, []byte(`"Index Scan"`)) || bytes.Contains(plan, []byte(`"Seq Scan"`)) {
					t.Errorf("the plan is %s", plan)
				}
				return err
			},
			"AppendHistory": func() error { return db.AppendHistory(t.Context(), []im.Message{m}) },
			"AmendHistory": func() error {
				m.Text, m.Revision = "edited", 1
				return db.AmendHistory(t.Context(), []im.Message{m})
			},
			"IndexSearch": func() error { return pgtest.Second(db.IndexSearch(t.Context(), 50)) },
		}
		for _, name := range slices.Sorted(maps.Keys(steps)) {
			if err := steps[name](); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			after := pgtest.Scans(t, db)
			for table, n := range after {
				if n != before[table] && table != "walks" && !few[table] { // of a few rows
					t.Errorf("%s walks through %s", name, table)
				}
			}
			before = maps.Clone(after)
		}
	}
}

// Why there is no index of pg_trgm, nor PostgreSQL's own words: docs/search.md.
func TestWithoutALanguagePostgreSQLFindsNoChinese(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	var language string
	var there bool
	err := db.QueryRow(ctx, `
		SELECT datctype, EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') FROM pg_database WHERE datname = current_database()`).Scan(&language, &there)
	pgtest.Wants(t, err, "")
	if language != "C" || !there {
		imtest.NotExercised(t, fmt.Sprintf("pg_trgm: the database has the language %s, the extension is there: %v", language, there))
		return
	}
	_, err = db.Exec(ctx, `CREATE EXTENSION pg_trgm`)
	pgtest.Wants(t, err, "")
	var chinese, english int
	var found bool
	err = db.QueryRow(ctx, `
		SELECT cardinality(show_trgm('明天开会')), cardinality(show_trgm('meeting')), to_tsvector('simple', '我们明天开会') @@ to_tsquery('simple', '明天')`).Scan(&chinese, &english, &found)
	pgtest.Wants(t, err, "")
	if chinese != 0 || english == 0 || found {
		t.Errorf("%d trigrams of Chinese, %d of English, found as a word: %v; docs/search.md says otherwise", chinese, english, found)
	}
}
