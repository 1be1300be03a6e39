package messages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/messages"
)

// page returns the first messages of a conversation as user reads them.
func page(t testing.TB, db *pgtest.DB, c im.Conversation, user string) []im.Message {
	t.Helper()
	all, _, err := db.History(t.Context(), c, user, im.Place{}, false, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAMessageIsChanged(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	now := im.Now()
	first, second := pgtest.Said(c, ann, now, "hello"), pgtest.Said(c, bob, now+1, "hi")
	second.ReplyTo = first.ID
	pgtest.Kept(t, db, first, second)

	locked := func(c im.Conversation, id string) (m im.Message, ok bool) {
		t.Helper()
		pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
			m, ok, err = tx.LockMessage(ctx, c, id)
			return err
		})
		return m, ok
	}
	for name, at := range map[string]struct {
		c  im.Conversation
		id string
	}{
		"of another conversation": {im.Direct(ann, im.NewID()), first.ID},
		"that there is not":       {c, im.NewMessageID(now)},
		"of no time":              {c, "019b7d5f-1c2e-4e66-8000-000000000001"},
		"without an id":           {c, ""},
	} {
		if m, ok := locked(at.c, at.id); ok {
			t.Errorf("a message %s is %+v", name, m)
		}
	}
	if m, ok := locked(c, second.ID); !ok || !reflect.DeepEqual(m, second) {
		t.Errorf("locked %+v, %t; want %+v", m, ok, second)
	}

	edited := second
	edited.Text, edited.Revision, edited.Edited = "漢字 😀 \\ ' $1", 3, now+7
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, edited) })
	if got := page(t, db, c, ann); !reflect.DeepEqual(got, []im.Message{first, edited}) {
		t.Errorf("history is %+v, want %+v", got, edited)
	}
	gone := pgtest.Empty(edited)
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, gone) })
	if got := page(t, db, c, ann); !reflect.DeepEqual(got, []im.Message{first, gone}) {
		t.Errorf("history is %+v, want %+v", got, gone)
	}
}

// Kafka may deliver a message at any time again.
func TestP2AMessageDeliveredAgainAfterItWasRecalledStaysEmpty(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob := im.NewID(), im.NewID()
	m := pgtest.Said(im.Direct(ann, bob), ann, im.Now(), "what I should not have said")
	m.Data = json.RawMessage(`{"a": 1}`)
	pgtest.Kept(t, db, m)
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, pgtest.Empty(m)) })
	pgtest.Kept(t, db, m, pgtest.Said(m.Conversation, bob, m.Time+1, "what?"))
	if got := page(t, db, m.Conversation, bob); len(got) != 2 || !reflect.DeepEqual(got[0], pgtest.Empty(m)) {
		t.Errorf("history is %+v", got)
	}
}

// Each of many who change a message at once sees what the one before has done.
func TestAMessageIsChangedByOneAtATime(t *testing.T) {
	db := pgtest.Fresh(t)
	ann := im.NewID()
	m := pgtest.Said(im.Direct(ann, im.NewID()), ann, im.Now(), "0")
	pgtest.Kept(t, db, m)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 10 {
				_, _, err := db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
					m, ok, err := tx.LockMessage(ctx, m.Conversation, m.ID)
					if err != nil || !ok {
						return fmt.Errorf("found %t, %w", ok, err)
					}
					if m.Text != fmt.Sprint(m.Revision) {
						t.Errorf("revision %d reads %s", m.Revision, m.Text)
					}
					m.Revision++
					m.Text = fmt.Sprint(m.Revision)
					return tx.AmendMessage(ctx, m)
				}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := page(t, db, m.Conversation, ann); got[0].Revision != 80 || got[0].Text != "80" {
		t.Errorf("history is %+v", got)
	}
}

func TestReactions(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob, cem := im.NewID(), im.NewID(), im.NewID()
	c := im.Group(im.NewID())
	m, other := pgtest.Said(c, ann, im.Now(), "hello"), pgtest.Said(c, ann, im.Now()+1, "none")
	pgtest.Kept(t, db, m, other)
	react := func(user, emoji string, on, want bool) {
		t.Helper()
		pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			got, err := tx.React(ctx, c, m.ID, user, emoji, on)
			if got != want {
				t.Errorf("%s %s %t changes something: %t", user, emoji, on, got)
			}
			return err
		})
	}
	are := func(user string, want ...im.Reaction) {
		t.Helper()
		got, err := db.Reactions(t.Context(), c, user, []string{m.ID, other.ID})
		if err != nil || !slices.Equal(got[m.ID], want) || len(got[other.ID]) > 0 {
			t.Errorf("reactions are %v, %v; want %v", got, err, want)
		}
		var emoji []string
		pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
			emoji, err = tx.Emoji(ctx, c, m.ID)
			return err
		})
		if len(emoji) != len(want) {
			t.Errorf("the emoji are %q, want those of %v", emoji, want)
		}
		var rows int
		if err := db.QueryRow(t.Context(), `
			SELECT count(*) FROM (SELECT emoji, count(*) FROM reactions GROUP BY 1) r
			FULL JOIN reaction_counts n USING (emoji, count) WHERE r.emoji IS NULL OR n.emoji IS NULL`).Scan(&rows); err != nil || rows > 0 {
			t.Errorf("%d counts are wrong, %v", rows, err)
		}
	}
	are(ann)
	react(ann, "👍", false, false)
	react(ann, "👍", true, true)
	react(ann, "👍", true, false)
	react(bob, "👍", true, true)
	react(bob, "❤️", true, true)
	react(cem, "👍", false, false)
	are(ann, im.Reaction{Emoji: "👍", Count: 2, Mine: true}, im.Reaction{Emoji: "❤️", Count: 1})
	are(bob, im.Reaction{Emoji: "👍", Count: 2, Mine: true}, im.Reaction{Emoji: "❤️", Count: 1, Mine: true})
	are(cem, im.Reaction{Emoji: "👍", Count: 2}, im.Reaction{Emoji: "❤️", Count: 1})
	react(ann, "👍", false, true)
	are(ann, im.Reaction{Emoji: "👍", Count: 1}, im.Reaction{Emoji: "❤️", Count: 1})
	react(bob, "👍", false, true)
	react(bob, "👍", false, false)
	are(bob, im.Reaction{Emoji: "❤️", Count: 1, Mine: true})
	react(bob, "👍", true, true) // is the last one now
	are(cem, im.Reaction{Emoji: "❤️", Count: 1}, im.Reaction{Emoji: "👍", Count: 1})
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.ClearReactions(ctx, c, m.ID) })
	are(bob)
	react(bob, "❤️", true, true)
	are(bob, im.Reaction{Emoji: "❤️", Count: 1, Mine: true})
}

func TestP6WhatOneDeletesEverybodyElseStillReads(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob := im.NewID(), im.NewID()
	c, elsewhere := im.Direct(ann, bob), im.Direct(ann, im.NewID())
	var all []im.Message
	var ids []string
	for i := range 10 {
		m := pgtest.Said(c, ann, im.Now()+im.Time(i), fmt.Sprint(i))
		all, ids = append(all, m), append(ids, m.ID)
	}
	pgtest.Kept(t, db, append(all, pgtest.Said(elsewhere, ann, im.Now(), "elsewhere"))...)
	remove := func(user string, c im.Conversation, want []string, ids ...string) {
		t.Helper()
		pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			got, err := tx.DeleteMessages(ctx, user, c, ids)
			if !slices.Equal(got, want) {
				t.Errorf("deleted %q, want %q", got, want)
			}
			return err
		})
	}
	remove(ann, c, ids[3:6], ids[5], ids[3], ids[4])
	remove(ann, c, ids[9:], ids[9], ids[9], ids[4])
	remove(ann, c, nil, ids[4])
	remove(ann, elsewhere, ids[:1], ids[0]) // means nothing here
	if got := page(t, db, c, bob); !reflect.DeepEqual(got, all) {
		t.Errorf("the other reads %+v", got)
	}
	want := append(slices.Clone(all[:3]), all[6:9]...)
	for _, limit := range []int{1, 2, 3, 4, 6, 10} {
		var forth, back []im.Message
		for from := (im.Place{}); ; {
			page, _, err := db.History(t.Context(), c, ann, from, false, limit)
			pgtest.Wants(t, err, "")
			if forth = append(forth, page...); len(page) < limit {
				break
			}
			from = page[len(page)-1].Place()
		}
		for from := all[9].Place(); ; {
			page, _, err := db.History(t.Context(), c, ann, from, true, limit)
			pgtest.Wants(t, err, "")
			if back = append(back, page...); len(page) < limit {
				break
			}
			from = page[len(page)-1].Place()
		}
		slices.Reverse(back)
		if !reflect.DeepEqual(forth, want) || !reflect.DeepEqual(back, want) {
			t.Errorf("by %d they read %v and, backwards, %v", limit, forth, back)
		}
	}
}

func TestThoseOfMessagesThatThereAre(t *testing.T) {
	db := pgtest.Fresh(t)
	ann := im.NewID()
	c := im.Direct(ann, im.NewID())
	year := im.Time(400 * 24 * time.Hour / time.Microsecond)
	a, b := pgtest.Said(c, ann, im.Now()-year, "a"), pgtest.Said(c, ann, im.Now(), "b")
	elsewhere := pgtest.Said(im.Direct(ann, im.NewID()), ann, im.Now(), "c")
	pgtest.Kept(t, db, a, b, elsewhere)
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		got, err := tx.Messages(ctx, c, []string{b.ID, elsewhere.ID, a.ID, im.NewMessageID(im.Now()), "019b7d5f-1c2e-4e66-8000-000000000001"})
		if !reflect.DeepEqual(got, []im.Message{a, b}) {
			t.Errorf("found %+v", got)
		}
		return err
	})
}

func TestSpeaker(t *testing.T) {
	db := pgtest.Fresh(t)
	users := pgtest.People(t, db, 3)
	group := im.NewID()
	for _, sql := range []string{
		`INSERT INTO groups (id, name, owner_id, version, muted, created) VALUES ($1, 'g', $2, 7, true, now())`,
		`INSERT INTO group_members (group_id, user_id, role, joined) VALUES ($1, $2, 'owner', now())`,
	} {
		if _, err := db.Exec(t.Context(), sql, group, users[0]); err != nil {
			t.Fatal(err)
		}
	}
	until := im.Now() + 1e9
	if _, err := db.Exec(t.Context(), `INSERT INTO group_members (group_id, user_id, role, joined, muted_until) VALUES ($1, $2, 'member', now(), $3)`,
		group, users[1], until.Std()); err != nil {
		t.Fatal(err)
	}
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		for i, want := range []struct {
			role im.Role
			in   im.Members
		}{
			{im.RoleOwner, im.Members{Version: 7, Users: users[:1], Muted: true, Staff: users[:1], MutedUntil: map[string]im.Time{users[0]: 0}}},
			{im.RoleMember, im.Members{Version: 7, Users: users[1:2], Muted: true, MutedUntil: map[string]im.Time{users[1]: until}}},
			{im.RoleNone, im.Members{}},
		} {
			role, in, err := tx.Speaker(ctx, group, users[i])
			if err != nil || role != want.role || !reflect.DeepEqual(in, want.in) {
				t.Errorf("user %d is %s, %+v, %v; want %s, %+v", i, role, in, err, want.role, want.in)
			}
		}
		if role, _, err := tx.Speaker(ctx, im.NewID(), users[0]); role != im.RoleNone || err != nil {
			t.Errorf("in a group that there is not: %s, %v", role, err)
		}
		return nil
	})
}

// TestReadingADeepPageCostsAPage counts the blocks that PostgreSQL looks at for
// a page far back in a long conversation, of which the reader has deleted a part.
func TestReadingADeepPageCostsAPage(t *testing.T) {
	url := imtest.Migrated(t, postgres.Migrate)
	const n, limit = 100_000, 50
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": url}))
	c, user := im.Direct("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"), "aaaaaaaaaaaaaaaa"
	const apart = im.Time(60_000_000)
	start := im.Now() - n*apart
	for _, sql := range []string{
		// A message each minute, in several partitions.
		`INSERT INTO messages (conversation, time, id, sender, client_id, kind, text)
		 SELECT $1, $2::timestamptz + i * interval '1 min', lpad(to_hex(i), 32, '0')::uuid, $3, 'c', 'text', repeat('x', 100) FROM generate_series(1, $4::int) i`,
		`INSERT INTO deleted_messages SELECT $3, $1, id FROM messages WHERE $2::timestamptz IS NOT NULL AND id::text LIKE '%7' LIMIT $4`,
		`INSERT INTO reaction_counts SELECT $1, id, '👍', 1 FROM messages WHERE $2::timestamptz IS NOT NULL AND $3 <> '' AND id::text LIKE '%3' LIMIT $4`,
	} {
		if _, err := db.Exec(t.Context(), sql, string(c), start.Std(), user, n); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := db.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		sep := "?"
		if strings.Contains(url, "?") {
			sep = "&"
		}
		db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": url + sep + "plan_cache_mode=" + mode}))
		first, _, err := db.History(t.Context(), c, "nobody", im.Place{Time: start + n/2*apart}, false, 1)
		pgtest.Wants(t, err, "")
		ids, err := postgres.ParseUUIDs([]string{first[0].ID})
		pgtest.Wants(t, err, "")
		if blocks, plan := explain(t, db, messages.LockMessage, string(c), first[0].Time.Std(), ids[0]); blocks > 12 {
			t.Errorf("locking a message (%s) takes %d blocks: %s", mode, blocks, plan)
		}
		for _, backwards := range []bool{false, true} {
			for name, at := range map[string]im.Time{"near the beginning": start + 100*apart, "in the middle": start + n/2*apart, "near the end": start + (n-100)*apart} {
				found, _, err := db.History(t.Context(), c, user, im.Place{Time: at}, backwards, limit)
				if err != nil || len(found) != limit {
					t.Fatalf("%d messages, %v", len(found), err)
				}
				var ids []string
				for _, m := range found {
					ids = append(ids, m.ID)
				}
				if got, err := db.Reactions(t.Context(), c, user, ids); err != nil || len(got) < 3 {
					t.Errorf("%d of %d have reactions, %v", len(got), len(ids), err)
				}
				zero, err := postgres.ParseUUIDs([]string{"00000000-0000-0000-0000-000000000000"})
				pgtest.Wants(t, err, "")
				blocks, plan := explain(t, db, messages.HistoryQuery(backwards), string(c), at.Std(), zero[0], limit, user)
				if blocks > 10*limit {
					t.Errorf("a page %s (%s, backwards %t) takes %d blocks: %s", name, mode, backwards, blocks, plan)
				}
			}
		}
	}
}

// explain runs a query and returns how many blocks it looked at, and its plan.
func explain(t *testing.T, db *pgtest.DB, query string, args ...any) (blocks int, plan string) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+query, args...).Scan(&plan); err != nil {
		t.Fatal(err)
	}
	var out []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal([]byte(plan), &out); err != nil {
		t.Fatal(err)
	}
	return out[0].Plan.Hit + out[0].Plan.Read, plan
}

// TestChangingMessagesReadsIndexes does for what changes messages what
// TestQueriesReadIndexes does for the rest.
func TestChangingMessagesReadsIndexes(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	for _, sql := range []string{
		`INSERT INTO users (id, account, name, password) SELECT s, s, s, '' FROM (SELECT 'user' || lpad(i::text, 12, '0') AS s FROM generate_series(0, 9999) i) x`,
		`INSERT INTO groups (id, name, owner_id, created) SELECT 'grup' || right(id, 12), 'g', id, now() FROM users WHERE right(id, 1) = '0'`,
		`INSERT INTO group_members (group_id, user_id, role, joined) SELECT g.id, u.id, 'member', now() FROM groups g JOIN users u ON right(u.id, 3) = right(g.id, 3)`,
		`INSERT INTO messages (conversation, time, id, sender, client_id, kind, text)
		 SELECT 'g:' || g.id, now() + s * interval '1 day', gen_random_uuid(), g.owner_id, 'c', 'text', 'x' FROM groups g, generate_series(-60, 60) s`,
		`INSERT INTO reactions SELECT conversation, id, sender, '👍' FROM messages`,
		`INSERT INTO reaction_counts SELECT conversation, id, '👍', 1 FROM messages`,
		`INSERT INTO deleted_messages SELECT sender, conversation, id FROM messages WHERE id::text LIKE '%7'`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const user, group = "user000000000010", "grup000000000010"
	before := pgtest.Scans(t, db)
	for range 10 {
		m := pgtest.Said(im.Group(group), user, im.Now(), "x")
		pgtest.Kept(t, db, m)
		steps := map[string]func(ctx context.Context, tx *pgtest.Tx) error{
			"Speaker": func(ctx context.Context, tx *pgtest.Tx) error { _, _, err := tx.Speaker(ctx, group, user); return err },
			"LockMessage": func(ctx context.Context, tx *pgtest.Tx) error {
				_, _, err := tx.LockMessage(ctx, m.Conversation, m.ID)
				return err
			},
			"AmendMessage": func(ctx context.Context, tx *pgtest.Tx) error { return tx.AmendMessage(ctx, pgtest.Empty(m)) },
			"React": func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.React(ctx, m.Conversation, m.ID, user, "👍", true)
				return err
			},
			"React off": func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.React(ctx, m.Conversation, m.ID, user, "👍", false)
				return err
			},
			"Emoji": func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.Emoji(ctx, m.Conversation, m.ID)
				return err
			},
			"ClearReactions": func(ctx context.Context, tx *pgtest.Tx) error { return tx.ClearReactions(ctx, m.Conversation, m.ID) },
			"Messages": func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.Messages(ctx, m.Conversation, []string{m.ID, im.NewMessageID(m.Time)})
				return err
			},
			"DeleteMessages": func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.DeleteMessages(ctx, user, m.Conversation, []string{m.ID})
				return err
			},
		}
		for name, step := range steps {
			pgtest.Changes(t, db, step)
			after := pgtest.Scans(t, db)
			for table, n := range after {
				if n != before[table] {
					t.Errorf("%s walks through %s", name, table)
				}
			}
			before = maps.Clone(after)
		}
		if _, err := db.Reactions(t.Context(), m.Conversation, user, []string{m.ID, im.NewMessageID(m.Time)}); err != nil {
			t.Fatal(err)
		}
		after := pgtest.Scans(t, db)
		for table, n := range after {
			if n != before[table] {
				t.Errorf("reading reactions walks through %s", table)
			}
		}
		before = after
	}
}

func TestHistoryIsAmendedByTheGreatestRevision(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	year := im.Time(400 * 24 * time.Hour / time.Microsecond)
	a, b, other := pgtest.Said(c, ann, im.Now()-year, "a"), pgtest.Said(c, ann, im.Now(), "b"), pgtest.Said(c, bob, im.Now()+1, "other")
	elsewhere := pgtest.Said(im.Direct(ann, im.NewID()), ann, im.Now(), "elsewhere")
	pgtest.Kept(t, db, a, b, other, elsewhere)
	for _, m := range []im.Message{a, b} {
		pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			_, err := tx.React(ctx, c, m.ID, bob, "👍", true)
			return err
		})
	}
	edit := func(m im.Message, revision int) im.Message {
		m.Text, m.Revision, m.Edited = fmt.Sprint(m.Text, revision), revision, m.Time+5
		return m
	}
	recall := pgtest.Empty(edit(a, 3))
	stray := edit(pgtest.Said(c, ann, im.Now()+7, "stray"), 1)
	misplaced := edit(elsewhere, 1)
	misplaced.Conversation = c
	amend := func(messages ...im.Message) { t.Helper(); pgtest.Wants(t, db.AmendHistory(t.Context(), messages), "") }
	amend()
	amend(edit(b, 2), stray, edit(a, 2), misplaced, edit(b, 1))
	amend(recall, edit(a, 3), edit(b, 1), recall)
	amend(edit(a, 2), edit(b, 2))
	if got := page(t, db, c, bob); !reflect.DeepEqual(got, []im.Message{recall, edit(b, 2), other}) {
		t.Errorf("history is %+v", got)
	}
	if got := page(t, db, elsewhere.Conversation, ann); !reflect.DeepEqual(got, []im.Message{elsewhere}) {
		t.Errorf("elsewhere it is %+v", got)
	}
	reactions, err := db.Reactions(t.Context(), c, bob, []string{a.ID, b.ID})
	if err != nil || len(reactions[a.ID]) > 0 || len(reactions[b.ID]) != 1 {
		t.Errorf("reactions are %v, %v; want those of what was not recalled", reactions, err)
	}

	// All or none of them.
	bad := edit(other, 1)
	bad.Text = "\x00"
	pgtest.Wants(t, db.AmendHistory(t.Context(), []im.Message{edit(b, 9), bad}), im.Invalid)
	if got := page(t, db, c, bob); got[1].Revision != 2 {
		t.Errorf("history is %+v", got)
	}
}

func TestWhatBecameOfMessages(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	year := im.Time(400 * 24 * time.Hour / time.Microsecond)
	plain, changed, deleted := pgtest.Said(c, ann, im.Now(), "plain"), pgtest.Said(c, ann, im.Now()-year, "changed"), pgtest.Said(c, ann, im.Now()+1, "deleted")
	pgtest.Kept(t, db, plain, changed, deleted)
	now := pgtest.Empty(changed)
	pgtest.Wants(t, db.AmendHistory(t.Context(), []im.Message{now}), "")
	pgtest.Changes(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.DeleteMessages(ctx, bob, c, []string{deleted.ID, changed.ID})
		return err
	})
	key := func(user string, c im.Conversation, m im.Message) im.EntryKey {
		return im.EntryKey{User: user, ID: m.ID, Conversation: c}
	}
	elsewhere, none := im.Direct(ann, im.NewID()), im.Message{ID: "00000000-0000-4000-8000-000000000000"}
	of, err := db.ChangedMessages(t.Context(), []im.EntryKey{
		key("", c, plain), key("", c, changed), key("", c, changed), key("", elsewhere, changed), key("", c, none), key("", c, pgtest.Said(c, ann, im.Now(), "")),
	})
	if want := map[im.EntryKey]im.Message{key("", c, changed): now}; err != nil || !reflect.DeepEqual(of, want) {
		t.Errorf("changed are %+v, %v", of, err)
	}
	by, err := db.DeletedMessages(t.Context(), []im.EntryKey{
		key(ann, c, deleted), key(bob, c, deleted), key(bob, c, plain), key(bob, elsewhere, deleted), key(bob, c, changed), key(bob, c, none),
	})
	if want := map[im.EntryKey]bool{key(bob, c, deleted): true, key(bob, c, changed): true}; err != nil || !maps.Equal(by, want) {
		t.Errorf("deleted are %v, %v", by, err)
	}
}
