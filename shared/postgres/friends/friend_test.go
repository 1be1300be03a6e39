package friends_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/friends"
)

func befriend(t testing.TB, db *pgtest.DB, a, b string) []im.Stale {
	t.Helper()
	return pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if _, err := tx.LockPair(ctx, a, b); err != nil {
			return err
		}
		_, _, err := tx.Befriend(ctx, a, b)
		return err
	})
}

func unfriend(t testing.TB, db *pgtest.DB, a, b string) []im.Stale {
	t.Helper()
	return pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if _, err := tx.LockPair(ctx, a, b); err != nil {
			return err
		}
		return tx.Unfriend(ctx, a, b)
	})
}

func askFriend(t testing.TB, db *pgtest.DB, a im.Ask) {
	t.Helper()
	if a.At == 0 {
		a.At = im.Now()
	}
	pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if _, err := tx.LockPair(ctx, a.From, a.To); err != nil {
			return err
		}
		return tx.AddRequest(ctx, a)
	})
}

func pairState(t testing.TB, db *pgtest.DB, a, b string) (s im.PairState) {
	t.Helper()
	pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) (err error) { s, err = tx.PairState(ctx, a, b); return err })
	return s
}

// eraseFriends marks a user as deleted, as user-delete does.
func eraseFriends(t testing.TB, db *pgtest.DB, user string) (friends []string, stale []im.Stale) {
	t.Helper()
	stale = pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
		if err := markDeleted(ctx, tx, user); err != nil {
			return err
		}
		friends, err = tx.RemoveAllFriends(ctx, user)
		return err
	})
	return friends, stale
}

func markDeleted(ctx context.Context, tx *pgtest.Tx, user string) error {
	_, err := tx.Exec(ctx, `UPDATE users SET deleted = now(), account = NULL WHERE id = $1`, user)
	return err
}

func TestHowTwoUsersStandToEachOther(t *testing.T) {
	db := pgtest.Fresh(t)
	at := im.Now()
	for _, tt := range []struct {
		name       string
		make       func(a, b string)
		want, seen im.PairState // of a to b, and of b to a
	}{
		{"strangers", func(a, b string) {}, im.PairState{Exist: true, Takes: true}, im.PairState{Exist: true, Takes: true}},
		{"friends", func(a, b string) { befriend(t, db, a, b) },
			im.PairState{Exist: true, Takes: true, Friends: true}, im.PairState{Exist: true, Takes: true, Friends: true}},
		{"friends no longer", func(a, b string) { befriend(t, db, a, b); unfriend(t, db, b, a) },
			im.PairState{Exist: true, Takes: true}, im.PairState{Exist: true, Takes: true}},
		{"one has asked", func(a, b string) { askFriend(t, db, im.Ask{From: a, To: b, At: at}) },
			im.PairState{Exist: true, Takes: true, Asked: at}, im.PairState{Exist: true, Takes: true, AskedBy: at}},
		{"one has asked, which is hidden", func(a, b string) { askFriend(t, db, im.Ask{From: a, To: b, At: at, Hidden: true}) },
			im.PairState{Exist: true, Takes: true, Asked: at}, im.PairState{Exist: true, Takes: true, AskedBy: at, Hidden: true}},
		{"one has asked, and the other has blocked them since", func(a, b string) { askFriend(t, db, im.Ask{From: a, To: b, At: at}); pgtest.BlockUser(t, db, b, a) },
			im.PairState{Exist: true, Takes: true, Asked: at, BlockedBy: true}, im.PairState{Exist: true, Takes: true, AskedBy: at, Hidden: true, Blocks: true}},
		{"one has asked, and has blocked the other since", func(a, b string) { askFriend(t, db, im.Ask{From: a, To: b, At: at}); pgtest.BlockUser(t, db, a, b) },
			im.PairState{Exist: true, Takes: true, Asked: at, Blocks: true}, im.PairState{Exist: true, Takes: true, AskedBy: at, BlockedBy: true}},
		{"what is hidden stays so when the block ends", func(a, b string) {
			askFriend(t, db, im.Ask{From: a, To: b, At: at})
			pgtest.BlockUser(t, db, b, a)
			pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.Unblock(ctx, b, a) })
		}, im.PairState{Exist: true, Takes: true, Asked: at}, im.PairState{Exist: true, Takes: true, AskedBy: at, Hidden: true}},
		{"who has asked again in place of what is over", func(a, b string) {
			askFriend(t, db, im.Ask{From: a, To: b, At: at - 5, Hidden: true})
			askFriend(t, db, im.Ask{From: a, To: b, At: at})
		}, im.PairState{Exist: true, Takes: true, Asked: at}, im.PairState{Exist: true, Takes: true, AskedBy: at}},
		{"friendship ends what was asked", func(a, b string) {
			askFriend(t, db, im.Ask{From: a, To: b, At: at})
			askFriend(t, db, im.Ask{From: b, To: a, At: at, Hidden: true})
			befriend(t, db, a, b)
		}, im.PairState{Exist: true, Takes: true, Friends: true}, im.PairState{Exist: true, Takes: true, Friends: true}},
		{"one takes no requests", func(a, b string) {
			if _, err := db.Exec(t.Context(), `UPDATE users SET friend_requests = 'nobody' WHERE id = $1`, b); err != nil {
				t.Fatal(err)
			}
		}, im.PairState{Exist: true}, im.PairState{Exist: true, Takes: true}},
		{"one is deleted", func(a, b string) { befriend(t, db, a, b); eraseFriends(t, db, b) }, im.PairState{}, im.PairState{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := pgtest.People(t, db, 2)
			tt.make(u[0], u[1])
			if got := pairState(t, db, u[0], u[1]); got != tt.want {
				t.Errorf("one stands to the other %+v, want %+v", got, tt.want)
			}
			if got := pairState(t, db, u[1], u[0]); got != tt.seen {
				t.Errorf("the other to the one %+v, want %+v", got, tt.seen)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		u := pgtest.People(t, db, 1)[0]
		pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			got, err := tx.LockPair(ctx, u, im.NewID())
			if got != (im.PairState{}) {
				t.Errorf("to nobody: %+v", got)
			}
			return err
		})
		if n := pgtest.Count(t, db, `SELECT count(*) FROM relation_versions WHERE $1 IN (a, b)`, u); n != 0 {
			t.Errorf("%d pairs with nobody are kept", n)
		}
	})
}

func TestEachChangeOfARelationMakesANewVersion(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 2)
	pair := im.PairOf(u[0], u[1])
	read := func() im.Relation {
		got, err := db.Relations(t.Context(), []im.Pair{{A: u[1], B: u[0]}, {A: u[0], B: u[1]}})
		if err != nil || len(got) != 2 || got[pair] != got[im.Pair{A: pair.B, B: pair.A}] {
			t.Fatalf("relations = %v, %v", got, err)
		}
		return got[pair]
	}
	if got := read(); got != (im.Relation{Exist: true}) {
		t.Errorf("strangers: %+v", got)
	}
	steps := []struct {
		name  string
		stale []im.Stale
		want  im.Relation
	}{}
	step := func(name string, stale []im.Stale, want im.Relation) {
		t.Helper()
		want.Exist, want.Version = true, int64(len(steps)+1)
		steps = append(steps, struct {
			name  string
			stale []im.Stale
			want  im.Relation
		}{name, stale, want})
		if got := read(); got != want {
			t.Errorf("%s: relation %+v, want %+v", name, got, want)
		}
		if len(stale) != 1 || stale[0] != (im.Stale{Pair: pair, Version: want.Version}) {
			t.Errorf("%s: stale is %+v", name, stale)
		}
	}
	step("befriended", befriend(t, db, u[1], u[0]), im.Relation{Friends: true})
	step("blocked", pgtest.BlockUser(t, db, u[0], u[1]), im.Relation{Friends: true, Blocked: true})
	step("blocked by both", pgtest.BlockUser(t, db, u[1], u[0]), im.Relation{Friends: true, Blocked: true})
	step("unblocked by one", pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.Unblock(ctx, u[0], u[1]) }), im.Relation{Friends: true, Blocked: true})
	step("unfriended", unfriend(t, db, u[0], u[1]), im.Relation{Blocked: true})

	askFriend(t, db, im.Ask{From: u[0], To: u[1]})
	if got := read(); got.Version != int64(len(steps)) {
		t.Errorf("a request makes version %d", got.Version)
	}
	_, stale := eraseFriends(t, db, u[0])
	if got := read(); got.Exist || got.Blocked || got.Version != int64(len(steps)+1) || len(stale) != 1 || stale[0].Version != got.Version {
		t.Errorf("with who is deleted: %+v, stale is %+v", got, stale)
	}
}

// friendsNow returns the friends of a user by id.
func friendsNow(t testing.TB, db *pgtest.DB, user string) (friends []string, version int64) {
	t.Helper()
	got, version, err := db.Friends(t.Context(), user, "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got {
		friends = append(friends, f.User.ID)
	}
	return friends, version
}

// changesSince returns the changes of a list as "+<id>" and "-<id>".
func changesSince(t testing.TB, db *pgtest.DB, user string, version int64) (changes []string, now int64, known bool) {
	t.Helper()
	c, err := db.FriendChanges(t.Context(), user, im.FriendPlace{Version: version, ID: "~"}, 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Changes {
		if f.Removed {
			changes = append(changes, "-"+f.User.ID)
		} else {
			changes = append(changes, "+"+f.User.ID)
		}
	}
	return changes, c.Version, c.Known
}

func TestAListOfFriendsTellsWhatHasChangedSinceAVersion(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 4)
	ann, bob, cleo, dave := u[0], u[1], u[2], u[3]
	expect := func(user string, from int64, want ...string) int64 {
		t.Helper()
		got, now, known := changesSince(t, db, user, from)
		if !slices.Equal(got, want) || !known {
			t.Errorf("changes since %d are %v (known: %v), want %v", from, got, known, want)
		}
		return now
	}
	if friends, v := friendsNow(t, db, ann); len(friends) != 0 || v != 0 {
		t.Errorf("friends of nobody: %v of version %d", friends, v)
	}
	befriend(t, db, ann, bob)
	befriend(t, db, cleo, ann)
	friends, v := friendsNow(t, db, ann)
	if !slices.Equal(friends, slices.Sorted(slices.Values([]string{bob, cleo}))) || v != 2 {
		t.Errorf("friends: %v of version %d", friends, v)
	}
	if got := expect(ann, v); got != v {
		t.Errorf("version %d, then %d", v, got)
	}
	befriend(t, db, bob, cleo) // concerns ann's friends, not ann
	expect(ann, v)

	befriend(t, db, ann, dave)
	unfriend(t, db, bob, ann)
	w := expect(ann, v, "+"+dave, "-"+bob)
	if set := setRemark(t, db, ann, cleo, "C."); !set {
		t.Error("a new remark is none")
	}
	if set := setRemark(t, db, ann, cleo, "C."); set {
		t.Error("the same remark is a new one")
	}
	expect(ann, w, "+"+cleo)
	expect(ann, v, "+"+dave, "-"+bob, "+"+cleo) // in the order of the changes
	befriend(t, db, ann, bob)
	x := expect(ann, v, "+"+dave, "+"+cleo, "+"+bob) // who is back is not removed
	if friends, _, err := db.Friends(t.Context(), ann, "", 10); err != nil || len(friends) != 3 {
		t.Errorf("%v, %v", friends, err)
	} else {
		for _, f := range friends {
			if want := map[string]string{cleo: "C."}[f.User.ID]; f.Remark != want || f.User.Account == "" || f.Since == 0 || f.Version == 0 {
				t.Errorf("friend %+v", f)
			}
		}
	}
	if _, _, known := changesSince(t, db, ann, x+1); known {
		t.Error("a version that never was is known")
	}
	pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.SetRemark(ctx, ann, im.NewID(), "x")
		pgtest.Wants(t, err, im.NotFound)
		return nil
	})
	eraseFriends(t, db, bob)
	expect(ann, x, "-"+bob)
	befriend(t, db, ann, pgtest.People(t, db, 1)[0])
	if got, _, err := db.Friends(t.Context(), bob, "", 10); err != nil || len(got) != 0 {
		t.Errorf("friends of who is deleted: %v, %v", got, err)
	}
}

func setRemark(t testing.TB, db *pgtest.DB, user, friend, remark string) (set bool) {
	t.Helper()
	pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
		set, err = tx.SetRemark(ctx, user, friend, remark)
		return err
	})
	return set
}

func TestWhoWasRemovedIsKnownForALongTimeButNotForEver(t *testing.T) {
	db := pgtest.Fresh(t)
	user := pgtest.People(t, db, 1)[0]
	others := pgtest.People(t, db, friends.Tombstones+3)
	for _, o := range others {
		befriend(t, db, user, o)
	}
	_, before := friendsNow(t, db, user)
	for i, o := range others {
		unfriend(t, db, user, o)
		got, now, known := changesSince(t, db, user, before)
		if want := i < friends.Tombstones; known != want {
			t.Fatalf("when %d were removed, all are known: %v", i+1, known)
		}
		if known && len(got) != i+1 {
			t.Fatalf("when %d were removed, %d are known", i+1, len(got))
		}
		if got, _, known := changesSince(t, db, user, now-1); !known || !slices.Equal(got, []string{"-" + o}) {
			t.Fatalf("the last change is %v (known: %v)", got, known)
		}
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM friend_tombstones WHERE user_id = $1`, user); n != friends.Tombstones {
		t.Errorf("%d are kept, want %d", n, friends.Tombstones)
	}
	if got, _, known := changesSince(t, db, user, before+3); !known || len(got) != friends.Tombstones {
		t.Errorf("%d are known since what was forgotten last (%v)", len(got), known)
	}
}

// A change is committed in the middle of a read of a list. The read waits there
// for a table that whoever makes the change has locked.
func TestAChangeInTheMiddleOfAReadIsInItOrComesLater(t *testing.T) {
	url := imtest.Migrated(t, postgres.Migrate)
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": url}))
	reader := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": url, "POSTGRES_POOL": "1"}))
	between := func(t *testing.T, table string, read func(), change func(context.Context, *pgtest.Tx) error) {
		t.Helper()
		read() // prepares the statements, for which it would wait, too
		var reading sync.WaitGroup
		pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			if _, err := tx.Exec(ctx, `LOCK TABLE `+table+` IN ACCESS EXCLUSIVE MODE`); err != nil {
				return err
			}
			reading.Go(read)
			for deadline := time.Now().Add(imtest.Patience(t)); pgtest.Count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted`) == 0; {
				if time.Now().After(deadline) {
					t.Errorf("nobody waits for %s", table)
					break
				}
			}
			return change(ctx, tx)
		})
		reading.Wait()
	}
	for _, tt := range []struct {
		name, table string
		read        func(user string) (changes int, version int64, err error)
	}{
		{"the whole list, at its version", "friend_lists", func(user string) (int, int64, error) {
			friends, version, err := reader.Friends(t.Context(), user, "", 10)
			if len(friends) == 1 && friends[0].Version > 1 { // the second friend in place of the first
				return 2, version, err
			}
			return len(friends), version, err
		}},
		{"changes, at the version", "friend_lists", func(user string) (int, int64, error) {
			c, err := reader.FriendChanges(t.Context(), user, im.FriendPlace{}, 10)
			return len(c.Changes), c.Version, err
		}},
		{"changes, at who was removed", "friend_tombstones", func(user string) (int, int64, error) {
			c, err := reader.FriendChanges(t.Context(), user, im.FriendPlace{}, 10)
			return len(c.Changes), c.Version, err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := pgtest.People(t, db, 3)
			befriend(t, db, u[0], u[1])
			var changes int
			var version int64
			var err error
			between(t, tt.table, func() { changes, version, err = tt.read(u[0]) }, func(ctx context.Context, tx *pgtest.Tx) error {
				if _, err := tx.LockPair(ctx, u[0], u[2]); err != nil {
					return err
				}
				if _, _, err := tx.Befriend(ctx, u[0], u[2]); err != nil {
					return err
				}
				return tx.Unfriend(ctx, u[0], u[1])
			})
			if err != nil || changes < 2 && version > 1 {
				t.Errorf("version %d has %d changes, %v", version, changes, err)
			}
		})
	}
	t.Run("what is forgotten in the middle is not known", func(t *testing.T) {
		u := pgtest.People(t, db, 3)
		for _, o := range u[1:] {
			befriend(t, db, u[0], o)
			unfriend(t, db, u[0], o)
		}
		for _, table := range []string{"friendships", "friend_tombstones"} {
			var changes im.FriendChanges
			var err error
			between(t, table, func() {
				changes, err = reader.FriendChanges(t.Context(), u[0], im.FriendPlace{Version: 1, ID: "~"}, 10)
			},
				func(ctx context.Context, tx *pgtest.Tx) error {
					_, err := tx.Exec(ctx, `
						WITH gone AS (DELETE FROM friend_tombstones WHERE user_id = $1 AND version <= 2)
						UPDATE friend_lists SET forgotten = 2 WHERE user_id = $1`, u[0])
					return err
				})
			if err != nil || changes.Known && len(changes.Changes) != 2 {
				t.Errorf("changes %+v, %v", changes, err)
			}
		}
	})
}

func TestOpenRequestsAreThoseThatAreNotOver(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 5)
	at := im.Now()
	for i, to := range u[1:] {
		askFriend(t, db, im.Ask{From: u[0], To: to, At: at + im.Time(i), Hidden: i%2 == 0})
	}
	askFriend(t, db, im.Ask{From: u[1], To: u[0], At: at})
	for _, tt := range []struct {
		after im.Time
		want  int
	}{{at - 1, 4}, {at, 3}, {at + 2, 1}, {at + 3, 0}} {
		pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			n, err := tx.OpenRequests(ctx, u[0], tt.after)
			if n != tt.want {
				t.Errorf("%d are open, want %d", n, tt.want)
			}
			return err
		})
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM friend_requests`); n != 1 {
		t.Errorf("%d requests are left, want that of the other", n)
	}
	if n := pgtest.Count(t, db, `SELECT version FROM friend_lists WHERE user_id = $1`, u[0]); n != 0 {
		t.Errorf("counting makes version %d", n)
	}
}

func TestRequestsAreListedNewestFirstAndOnlyThoseThatMayBeSeen(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 6)
	at := im.Now()
	for i, from := range u[1:] { // the third is hidden, the first is over, and two came at once
		askFriend(t, db, im.Ask{From: from, To: u[0], Message: fmt.Sprint("m", i), Source: "card", At: at + im.Time(min(i, 3)), Hidden: i == 2})
	}
	last := im.FriendRequest{RequestedAt: im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}
	var got []string
	after := last
	for {
		page, err := db.FriendRequests(t.Context(), u[0], true, at, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			got = append(got, r.Message)
			if r.Source != "card" || r.User.Account != "u-"+r.User.ID || r.RequestedAt <= at {
				t.Errorf("request %+v", r)
			}
			after = r
		}
		if len(page) < 2 {
			break
		}
	}
	want := []string{"m3", "m4", "m1"}
	if u[5] > u[4] { // of two at once the greater id comes first
		want[0], want[1] = "m4", "m3"
	}
	if !slices.Equal(got, want) {
		t.Errorf("incoming are %v, want %v", got, want)
	}
	mine, err := db.FriendRequests(t.Context(), u[3], false, at, last, 9)
	if err != nil || len(mine) != 1 || mine[0].Message != "m2" || mine[0].User.ID != u[0] {
		t.Errorf("who asked sees %+v, %v; want the one that is hidden", mine, err)
	}
	if mine, err := db.FriendRequests(t.Context(), u[0], false, at, last, 9); err != nil || len(mine) != 0 {
		t.Errorf("who did not ask sees %+v, %v", mine, err)
	}
}

func TestBlocksAreListedNewestFirst(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 4)
	for i, o := range u[1:] {
		pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			n, err := tx.Block(ctx, u[0], o)
			if n != i+1 {
				t.Errorf("%d are blocked", n)
			}
			return err
		})
	}
	var got []string
	after := im.Block{Since: im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}
	for range 4 {
		page, err := db.Blocks(t.Context(), u[0], after, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page {
			got, after = append(got, b.User.ID), b
		}
	}
	if !slices.Equal(got, []string{u[3], u[2], u[1]}) {
		t.Errorf("blocked are %v, want %v backwards", got, u[1:])
	}
}

func TestNothingIsLeftOfWhoIsDeletedButThatTheyAreGone(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 7)
	gone, asked, asks, blocks, blocked := u[0], u[3], u[4], u[5], u[6]
	befriend(t, db, gone, u[1])
	befriend(t, db, u[2], gone)
	befriend(t, db, u[1], u[2])
	unfriend(t, db, gone, u[2])
	befriend(t, db, gone, u[2])
	askFriend(t, db, im.Ask{From: gone, To: asked})
	askFriend(t, db, im.Ask{From: asks, To: gone, Hidden: true})
	pgtest.BlockUser(t, db, blocks, gone)
	pgtest.BlockUser(t, db, gone, blocked)
	_, before := friendsNow(t, db, u[1])

	friends, stale := eraseFriends(t, db, gone)
	slices.Sort(friends)
	if want := slices.Sorted(slices.Values(u[1:3])); !slices.Equal(friends, want) {
		t.Errorf("friends were %v, want %v", friends, want)
	}
	var pairs []string
	for _, s := range stale {
		if s.Pair != im.PairOf(s.Pair.A, s.Pair.B) || s.Pair.A != gone && s.Pair.B != gone || s.Version == 0 {
			t.Errorf("stale is %+v", s)
		}
		other := s.Pair.A
		if other == gone {
			other = s.Pair.B
		}
		pairs = append(pairs, other)
	}
	slices.Sort(pairs)
	if want := slices.Sorted(slices.Values(u[1:])); !slices.Equal(pairs, want) {
		t.Errorf("stale are the pairs with %v, want %v", pairs, want)
	}
	if got, now, _ := changesSince(t, db, u[1], before); !slices.Equal(got, []string{"-" + gone}) || now != before+1 {
		t.Errorf("a friend is told %v, version %d", got, now)
	}
	for table, columns := range map[string]string{
		"friendships": "user_id, friend_id", "friend_requests": "from_user, to_user", "blocks": "user_id, blocked_id", "friend_lists": "user_id", "friend_tombstones": "user_id",
	} {
		if n := pgtest.Count(t, db, `SELECT count(*) FROM `+table+` WHERE $1 IN (`+columns+`)`, gone); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if got := pairState(t, db, u[1], u[2]); !got.Friends {
		t.Error("others are friends no longer")
	}
	if friends, stale := eraseFriends(t, db, gone); len(friends) != 0 || len(stale) != 0 {
		t.Errorf("again: %v, %v", friends, stale)
	}
	alone := pgtest.People(t, db, 1)[0]
	if friends, stale := eraseFriends(t, db, alone); len(friends) != 0 || len(stale) != 0 {
		t.Errorf("who had nobody: %v, %v", friends, stale)
	}
}

// Everybody changes everything with everybody at once. Nobody waits in a
// circle, and what is left fits together.
func TestManyChangesAtOnceFitTogether(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "24"}))
	u := pgtest.People(t, db, 6)
	doomed := pgtest.People(t, db, 4)
	all := append(slices.Clone(u), doomed...)
	var wg sync.WaitGroup
	for w := range 24 {
		r := rand.New(rand.NewPCG(uint64(w), 7))
		wg.Go(func() {
			for range 40 {
				i := r.IntN(len(all))
				a, b := all[i], all[(i+1+r.IntN(len(all)-1))%len(all)]
				_, err := pgtest.Revised(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error { return anything(ctx, tx, r.IntN(6), a, b) })
				if err != nil && im.KindOf(err) != im.NotFound {
					t.Error(err)
				}
			}
			if w < len(doomed) {
				_, err := pgtest.Revised(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
					if err := markDeleted(ctx, tx, doomed[w]); err != nil {
						return err
					}
					_, err := tx.RemoveAllFriends(ctx, doomed[w])
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for what, sql := range map[string]string{
		"friendships of one side": `SELECT count(*) FROM friendships f WHERE NOT EXISTS (SELECT FROM friendships WHERE user_id = f.friend_id AND friend_id = f.user_id)`,
		"friends who are removed": `SELECT count(*) FROM friendships JOIN friend_tombstones USING (user_id, friend_id)`,
		"changes of no version":   `SELECT count(*) FROM friendships f LEFT JOIN friend_lists l USING (user_id) WHERE f.version < 1 OR f.version > l.version OR l.version IS NULL`,
		"changes of one version": `SELECT count(*) FROM (SELECT user_id, version FROM (
			SELECT user_id, version FROM friendships UNION ALL SELECT user_id, version FROM friend_tombstones) x GROUP BY 1, 2 HAVING count(*) > 1) y`,
		"requests of friends": `SELECT count(*) FROM friend_requests JOIN friendships ON user_id = from_user AND friend_id = to_user`,
		"lists of who is deleted": `SELECT (SELECT count(*) FROM friend_lists JOIN users u ON u.id = user_id WHERE deleted IS NOT NULL)
			+ (SELECT count(*) FROM friend_tombstones JOIN users u ON u.id = user_id WHERE deleted IS NOT NULL)`,
		"relations of who is deleted": `SELECT (SELECT count(*) FROM friendships JOIN users u ON u.id IN (user_id, friend_id) WHERE deleted IS NOT NULL)
			+ (SELECT count(*) FROM friend_requests JOIN users u ON u.id IN (from_user, to_user) WHERE deleted IS NOT NULL)
			+ (SELECT count(*) FROM blocks JOIN users u ON u.id IN (user_id, blocked_id) WHERE deleted IS NOT NULL)`,
	} {
		if n := pgtest.Count(t, db, sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

// anything makes one of all changes between two users, if it is one.
func anything(ctx context.Context, tx *pgtest.Tx, which int, a, b string) error {
	if which == 5 {
		_, err := tx.SetRemark(ctx, a, b, im.NewID())
		return err
	}
	is, err := tx.LockPair(ctx, a, b)
	if err != nil || !is.Exist {
		return err
	}
	switch {
	case which < 2 && !is.Friends:
		_, _, err = tx.Befriend(ctx, a, b)
	case which < 2:
		err = tx.Unfriend(ctx, a, b)
	case which == 2 && is.Blocks:
		err = tx.Unblock(ctx, a, b)
	case which == 2:
		_, err = tx.Block(ctx, a, b)
	case which == 3 && !is.Friends && is.Asked == 0:
		if _, err := tx.OpenRequests(ctx, a, im.Now()-im.Time(rand.IntN(200_000))); err != nil {
			return err
		}
		err = tx.AddRequest(ctx, im.Ask{From: a, To: b, At: im.Now()})
	case which == 4 && is.AskedBy != 0:
		err = tx.RemoveRequest(ctx, b, a)
	}
	return err
}

// TestQueriesOfFriendsReadIndexes is TestQueriesReadIndexes of what is here.
func TestQueriesOfFriendsReadIndexes(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	user := crowd(t, db, 5000)
	for _, sql := range []string{
		`INSERT INTO friendships (user_id, friend_id, version)
		 SELECT a.id, b.id, 2 FROM users a JOIN users b ON a.id <> b.id AND right(a.id, 3) = right(b.id, 3) ON CONFLICT DO NOTHING`,
		`INSERT INTO friend_tombstones SELECT user_id, 'gone' || right(friend_id, 12), 3 FROM friendships`,
		`INSERT INTO friend_requests (from_user, to_user, hidden) SELECT user_id, friend_id, friend_id LIKE '%7' FROM friendships`,
		`INSERT INTO blocks SELECT user_id, friend_id FROM friendships`,
		`INSERT INTO relation_versions SELECT user_id, friend_id, 1 FROM friendships WHERE user_id < friend_id`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	ctx := t.Context()
	before := pgtest.Scans(t, db)
	last := im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	for i := range 8 { // until PostgreSQL has settled on its plans
		one, two, three := fmt.Sprintf("frnd%012d", 100+i), fmt.Sprintf("frnd%012d", 2100+i), fmt.Sprintf("frnd%012d", 3000+i)
		gone := fmt.Sprintf("frnd%012d", 4000+i)
		steps := []struct {
			name string
			do   func() error
		}{
			{"Friends", func() error { _, _, err := db.Friends(ctx, user, one, 200); return err }},
			{"FriendChanges", func() error { _, err := db.FriendChanges(ctx, user, im.FriendPlace{Version: 1}, 200); return err }},
			{"FriendRequests in", func() error {
				_, err := db.FriendRequests(ctx, user, true, 0, im.FriendRequest{RequestedAt: last}, 50)
				return err
			}},
			{"FriendRequests out", func() error {
				_, err := db.FriendRequests(ctx, one, false, 0, im.FriendRequest{RequestedAt: last}, 50)
				return err
			}},
			{"Blocks", func() error { _, err := db.Blocks(ctx, user, im.Block{Since: last}, 50); return err }},
			{"Relations", func() error { _, err := db.Relations(ctx, []im.Pair{{A: one, B: two}, {A: one, B: user}}); return err }},
			{"OpenRequests", func() error {
				pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
					_, err := tx.OpenRequests(ctx, one, im.Now())
					return err
				})
				return nil
			}},
			{"AddRequest", func() error { askFriend(t, db, im.Ask{From: one, To: three}); return nil }},
			{"RemoveRequest", func() error {
				pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.RemoveRequest(ctx, one, three) })
				return nil
			}},
			{"Befriend", func() error { befriend(t, db, one, three); return nil }},
			{"SetRemark", func() error { setRemark(t, db, one, three, "x"); return nil }},
			{"Unfriend", func() error { unfriend(t, db, one, three); return nil }},
			{"Block", func() error { pgtest.BlockUser(t, db, one, three); return nil }},
			{"Unblock", func() error {
				pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error { return tx.Unblock(ctx, one, three) })
				return nil
			}},
			{"RemoveAllFriends", func() error {
				pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error { _, err := tx.RemoveAllFriends(ctx, gone); return err })
				return nil
			}},
		}
		for _, step := range steps {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			after := pgtest.Scans(t, db)
			for table, n := range after {
				if n != before[table] {
					t.Errorf("%s walks through %s", step.name, table)
				}
			}
			before = after
		}
	}
}

// BenchmarkListOf1000Friends is a page of as many friends as one may have.
func BenchmarkListOf1000Friends(b *testing.B) {
	db := pgtest.Fresh(b)
	user := crowd(b, db, 1000)
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			if got, _, err := db.Friends(b.Context(), user, "", 1001); err != nil || len(got) != 1000 {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("no change", func(b *testing.B) {
		for b.Loop() {
			if got, err := db.FriendChanges(b.Context(), user, im.FriendPlace{Version: 1, ID: "~"}, 1001); err != nil || len(got.Changes) != 0 {
				b.Fatal(len(got.Changes), err)
			}
		}
	})
}

// crowd adds a user with n friends among others who have some.
func crowd(t testing.TB, db *pgtest.DB, n int) string {
	t.Helper()
	for _, sql := range []string{
		`INSERT INTO users (id, account, name, password) SELECT s, s, s, '' FROM (SELECT 'frnd' || lpad(i::text, 12, '0') AS s FROM generate_series(0, $1) i) x`,
		`INSERT INTO friend_lists (user_id, version) SELECT id, 1 FROM users WHERE id ~ '^frnd' LIMIT $1 + 1`,
		`INSERT INTO friendships (user_id, friend_id, version) SELECT 'frnd000000000000', 'frnd' || lpad(i::text, 12, '0'), 1 FROM generate_series(1, $1) i`,
		`INSERT INTO friendships (user_id, friend_id, version) SELECT 'frnd' || lpad(i::text, 12, '0'), 'frnd000000000000', 1 FROM generate_series(1, $1) i`,
	} {
		if _, err := db.Exec(t.Context(), sql, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
	return "frnd000000000000"
}
