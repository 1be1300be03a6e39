package friends_test

import (
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func TestWhoSeesWhom(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	ids := pgtest.People(t, db, 3)
	ann, bob, cleo := ids[0], ids[1], ids[2]
	for _, tt := range []struct {
		name           string
		setting        string // of bob
		friends        bool   // ann and bob
		blocks, before bool   // bob ann; ann bob
		deleted        bool   // bob
		seen, told     bool
	}{
		{name: "friends see it where friends may", setting: "friends", friends: true, seen: true, told: true},
		{name: "strangers do not", setting: "friends"},
		{name: "everybody sees it where everybody may", setting: "everyone", seen: true},
		{name: "but only friends are told", setting: "everyone", friends: true, seen: true, told: true},
		{name: "nobody sees it where nobody may", setting: "nobody", friends: true},
		{name: "not who is blocked", setting: "everyone", friends: true, blocks: true},
		{name: "who has blocked may look, and is not told", setting: "friends", friends: true, before: true, seen: true},
		{name: "nor is a deleted user seen", setting: "everyone", friends: true, deleted: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exec(`DELETE FROM friendships`)
			exec(`DELETE FROM blocks`)
			exec(`UPDATE users SET presence = $2, deleted = CASE WHEN $3 THEN now() END, account = CASE WHEN $3 THEN NULL ELSE id END WHERE id = $1`, bob, tt.setting, tt.deleted)
			if tt.friends {
				exec(`INSERT INTO friendships (user_id, friend_id) VALUES ($1, $2), ($2, $1)`, ann, bob)
			}
			if tt.blocks {
				exec(`INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2)`, bob, ann)
			}
			if tt.before {
				exec(`INSERT INTO blocks (user_id, blocked_id) VALUES ($1, $2)`, ann, bob)
			}
			seen, err := db.SeenBy(ctx, ann, []string{bob, "nobody0000000000"})
			if err != nil || slices.Equal(seen, []string{bob}) != tt.seen || !tt.seen && len(seen) > 0 {
				t.Errorf("seen are %v, %v", seen, err)
			}
			told, err := db.Watchers(ctx, []string{bob, cleo}, 10)
			if err != nil || slices.Equal(told[bob], []string{ann}) != tt.told || len(told) > 1 || !tt.told && len(told) > 0 {
				t.Errorf("told are %v, %v", told, err)
			}
		})
	}
	exec(`UPDATE users SET presence = 'nobody'`)
	if seen, err := db.SeenBy(ctx, ann, []string{ann}); err != nil || !slices.Equal(seen, []string{ann}) {
		t.Errorf("oneself: %v, %v", seen, err)
	}
}

func TestP7NoMoreAreToldThanAsked(t *testing.T) {
	db := pgtest.Fresh(t)
	ids := pgtest.People(t, db, 5)
	for _, user := range ids[:2] {
		for _, friend := range ids[2:] {
			if _, err := db.Exec(t.Context(), `INSERT INTO friendships (user_id, friend_id) VALUES ($1, $2)`, user, friend); err != nil {
				t.Fatal(err)
			}
		}
	}
	told, err := db.Watchers(t.Context(), ids[:2], 2)
	if err != nil || len(told) != 2 || len(told[ids[0]]) != 2 || len(told[ids[1]]) != 2 {
		t.Errorf("%v, %v", told, err)
	}
}
