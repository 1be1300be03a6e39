package groups_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// changing runs f in a transaction, and returns what it makes stale.
func changing(t testing.TB, db *pgtest.DB, f func(context.Context, *pgtest.Tx) error) []im.Stale {
	t.Helper()
	stale, _, err := db.Change(t.Context(), f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return stale
}

// newGroup makes a group of members, the first of whom owns it.
func newGroup(t testing.TB, db *pgtest.DB, members ...string) string {
	t.Helper()
	g := im.GroupInfo{ID: im.NewID(), Name: "G", Policy: im.PolicyOpen, Owner: members[0], Created: im.Now()}
	changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if made, err := tx.CreateGroup(ctx, g, members[1:]); err != nil || !made {
			t.Errorf("made %t, %v", made, err)
		}
		return nil
	})
	return g.ID
}

func TestGroups(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 5)
	g, h := newGroup(t, db, u[0], u[1], u[2]), newGroup(t, db, u[3])

	t.Run("members are read with what it takes to judge who may speak", func(t *testing.T) {
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			if _, err := tx.SetRole(ctx, g, u[1], im.RoleAdmin); err != nil {
				return err
			}
			if _, err := tx.MuteMember(ctx, g, u[2], im.Now()+1e9); err != nil {
				return err
			}
			_, err := tx.MuteGroup(ctx, g, true)
			return err
		})
		got, err := db.GroupMembers(ctx, []string{g, h, im.NewID()})
		if err != nil || len(got) != 2 {
			t.Fatalf("members = %v, %v; want two groups", got, err)
		}
		m := got[g]
		if m.Version != 4 || !slices.Equal(m.Users, pgtest.Sorted(u[:3]...)) || !m.Muted || !slices.Equal(pgtest.Sorted(m.Staff...), pgtest.Sorted(u[:2]...)) ||
			len(m.MutedUntil) != 1 || m.MutedUntil[u[2]] < im.Now() {
			t.Errorf("members = %+v", m)
		}
		if m := got[h]; m.Version != 1 || !slices.Equal(m.Users, u[3:4]) || m.Muted || !slices.Equal(m.Staff, u[3:4]) || m.MutedUntil != nil {
			t.Errorf("members = %+v", m)
		}
	})
	t.Run("a group is seen as who asks stands to it", func(t *testing.T) {
		for user, want := range map[string]im.Role{u[0]: im.RoleOwner, u[1]: im.RoleAdmin, u[2]: im.RoleMember, u[3]: im.RoleNone, im.NewID(): im.RoleNone} {
			got, err := db.Group(ctx, g, user)
			if err != nil || got.Role() != want || got.Members != 3 || got.Owner != u[0] || got.Conversation != im.Group(g) {
				t.Errorf("%+v, %v; want %s", got, err, want)
			}
			if is, err := db.IsMember(ctx, g, user); err != nil || is != (want != im.RoleNone) {
				t.Errorf("is member: %t, %v", is, err)
			}
		}
		_, err := db.Group(ctx, im.NewID(), u[0])
		pgtest.Wants(t, err, im.NotFound)
	})
	t.Run("an id makes one group", func(t *testing.T) {
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			made, err := tx.CreateGroup(ctx, im.GroupInfo{ID: g, Name: "Other", Policy: im.PolicyOpen, Owner: u[4], Created: im.Now()}, nil)
			if err != nil || made {
				t.Errorf("made %t, %v", made, err)
			}
			return nil
		})
		if got, err := db.Group(ctx, g, u[4]); err != nil || got.Name != "G" || got.Me != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("who is deleted or was never there cannot be held", func(t *testing.T) {
		gone := pgtest.People(t, db, 1)[0]
		if _, err := db.Exec(ctx, `UPDATE users SET deleted = now(), account = NULL WHERE id = $1`, gone); err != nil {
			t.Fatal(err)
		}
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			found, err := tx.HoldUsers(ctx, []string{u[1], im.NewID(), gone, u[0]})
			if err != nil || !slices.Equal(found, pgtest.Sorted(u[:2]...)) {
				t.Errorf("held %v, %v", found, err)
			}
			return nil
		})
	})
	t.Run("the owner is not removed, and who is not in it is not said to be", func(t *testing.T) {
		stale := changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			gone, version, err := tx.RemoveMembers(ctx, g, []string{u[0], u[4], im.NewID()})
			if err != nil || len(gone) > 0 || version != 0 {
				t.Errorf("removed %v, version %d, %v", gone, version, err)
			}
			return nil
		})
		if len(stale) > 0 {
			t.Errorf("stale: %v", stale)
		}
	})
	t.Run("a user's groups are those that they joined last first", func(t *testing.T) {
		user := pgtest.People(t, db, 1)[0]
		var want []string
		at := im.Now()
		for i := range 7 {
			other := newGroup(t, db, u[0])
			changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.AddMembers(ctx, other, []string{user}, at+im.Time(i/2)) // some at the same time
				return err
			})
			want = append(want, other)
		}
		var got []string
		var joined im.Time
		var last string
		for {
			page, err := db.Groups(ctx, user, joined, last, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for i, g := range page {
				if i > 0 && g.Me.Joined > page[i-1].Me.Joined {
					t.Errorf("%d is after %d", g.Me.Joined, page[i-1].Me.Joined)
				}
				got = append(got, g.ID)
			}
			joined, last = page[len(page)-1].Me.Joined, page[len(page)-1].ID
		}
		if !slices.Equal(pgtest.Sorted(got...), pgtest.Sorted(want...)) || !slices.Equal(pgtest.Sorted(got[:1]...), want[6:]) {
			t.Errorf("groups = %v, want %v backwards", got, want)
		}
	})
	t.Run("a dissolved group is no more", func(t *testing.T) {
		d := newGroup(t, db, u[0], u[1])
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			if _, err := tx.AskToJoin(ctx, d, u[2], "", im.Now(), 1); err != nil {
				return err
			}
			members, version, err := tx.DissolveGroup(ctx, d)
			if err != nil || version != 2 || !slices.Equal(members, pgtest.Sorted(u[:2]...)) {
				t.Errorf("dissolved at %d with %v, %v", version, members, err)
			}
			return nil
		})
		_, err := db.Group(ctx, d, u[0])
		pgtest.Wants(t, err, im.NotFound)
		if got, err := db.GroupMembers(ctx, []string{d}); err != nil || len(got) != 0 {
			t.Errorf("members = %v, %v", got, err)
		}
		if is, err := db.IsMember(ctx, d, u[0]); err != nil || is {
			t.Errorf("is member: %t, %v", is, err)
		}
		_, _, err = db.Change(ctx, func(ctx context.Context, tx *pgtest.Tx) error {
			_, err := tx.LockGroup(ctx, d, u[0])
			return err
		}, nil)
		pgtest.Wants(t, err, im.NotFound)
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			made, err := tx.CreateGroup(ctx, im.GroupInfo{ID: d, Name: "Back", Policy: im.PolicyOpen, Owner: u[0], Created: im.Now()}, nil)
			if err != nil || made {
				t.Errorf("it came back: %t, %v", made, err)
			}
			return nil
		})
	})
	t.Run("so many may ask to join", func(t *testing.T) {
		a := newGroup(t, db, u[0])
		ask := func(user string) (asked bool, err error) {
			_, _, failed := db.Change(ctx, func(ctx context.Context, tx *pgtest.Tx) error {
				asked, err = tx.AskToJoin(ctx, a, user, "hi", im.Now(), 2)
				return err
			}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
			if err == nil {
				err = failed
			}
			return asked, err
		}
		for i, want := range []bool{true, true, false} {
			if asked, err := ask(u[1+i%2]); err != nil || asked != want {
				t.Errorf("%d: asked %t, %v", i, asked, err)
			}
		}
		_, err := ask(u[3])
		pgtest.Wants(t, err, im.TooLarge)
		got, err := db.JoinRequests(ctx, a, 0, "", 10)
		if err != nil || len(got) != 2 || got[0].User.ID != u[1] || got[1].User.ID != u[2] || got[0].Message != "hi" {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := db.JoinRequests(ctx, a, got[0].RequestedAt, got[0].User.ID, 10); err != nil || len(got) != 1 || got[0].User.ID != u[2] {
			t.Errorf("%+v, %v", got, err)
		}
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error { // to be added answers it
			_, err := tx.AddMembers(ctx, a, u[1:2], im.Now())
			return err
		})
		if got, err := db.JoinRequests(ctx, a, 0, "", 10); err != nil || len(got) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("who is in many groups is known", func(t *testing.T) {
		busy := pgtest.People(t, db, 1)[0]
		for range 3 {
			newGroup(t, db, busy)
		}
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
			for many, want := range map[int][]string{2: {busy}, 3: {busy}, 4: nil} {
				if got, err := tx.InManyGroups(ctx, []string{busy, im.NewID()}, many); err != nil || !slices.Equal(got, want) {
					t.Errorf("in %d groups: %v, %v", many, got, err)
				}
			}
			return nil
		})
	})
}

func TestAUserLeavesAllGroups(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 4)
	gone := u[0]
	name := strings.NewReplacer(u[0], "gone", u[1], "one", u[2], "two", u[3], "three")
	role := func(g, user string, r im.Role) {
		changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error { _, err := tx.SetRole(ctx, g, user, r); return err })
	}
	var groups []string
	add := func(members ...string) string {
		groups = append(groups, newGroup(t, db, members[0]))
		for i, m := range members[1:] { // one after the other
			changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.AddMembers(ctx, groups[len(groups)-1], []string{m}, im.Now()+im.Time(i))
				return err
			})
		}
		return groups[len(groups)-1]
	}
	member, alone := add(u[1], gone, u[2]), add(gone)
	toMember, toAdmin := add(gone, u[3], u[1], u[2]), add(gone, u[3], u[1], u[2])
	role(toAdmin, u[1], im.RoleAdmin)
	role(toAdmin, u[2], im.RoleAdmin)
	asked := add(u[1])
	changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.AskToJoin(ctx, asked, gone, "", im.Now(), 1)
		return err
	})

	told := map[string][]string{}
	var inOrder []string
	stale := changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		notices, err := tx.LeaveAllGroups(ctx, gone)
		for _, n := range notices {
			g := n.Conversation.Group()
			inOrder = append(inOrder, g)
			told[g] = append(told[g], name.Replace(fmt.Sprintf("%s %s %s %s", n.From, n.Type, n.Data, n.To)))
		}
		return err
	})
	if !slices.IsSorted(inOrder) {
		t.Errorf("groups were locked in the order %v", inOrder)
	}
	if len(stale) != 6 { // a group that is handed over changes twice
		t.Errorf("stale: %v", stale)
	}
	for g, want := range map[string]struct {
		owner string
		told  []string
	}{
		member:   {"one", []string{`gone group.left {"user":"gone","version":4} []`}},
		toMember: {"three", []string{`gone group.role {"role":"owner","user":"three","version":5} []`, `gone group.left {"user":"gone","version":6} []`}},
		toAdmin:  {"one", []string{`gone group.role {"role":"owner","user":"one","version":7} []`, `gone group.left {"user":"gone","version":8} []`}},
	} {
		info, err := db.Group(ctx, g, gone)
		if err != nil || name.Replace(info.Owner) != want.owner || info.Me != nil {
			t.Errorf("%+v, %v; want it to be of %s", info, err, want.owner)
		}
		if !slices.Equal(told[g], want.told) {
			t.Errorf("told %q, want %q", told[g], want.told)
		}
		list, err := db.MemberList(ctx, g, "", 10)
		owners := 0
		for _, m := range list {
			if m.Role == im.RoleOwner {
				owners++
			}
		}
		if err != nil || owners != 1 || len(list) != info.Members {
			t.Errorf("%d owners, %d members, %v; want 1, %d", owners, len(list), err, info.Members)
		}
	}
	if _, err := db.Group(ctx, alone, gone); im.KindOf(err) != im.NotFound || len(told[alone]) > 0 {
		t.Errorf("a group of nobody: %v, told %q", err, told[alone])
	}
	if got, err := db.JoinRequests(ctx, asked, 0, "", 10); err != nil || len(got) > 0 {
		t.Errorf("still asks: %v, %v", got, err)
	}
	if again := changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		notices, err := tx.LeaveAllGroups(ctx, gone)
		if len(notices) > 0 {
			t.Errorf("again told %v", notices)
		}
		return err
	}); len(again) > 0 {
		t.Errorf("again stale: %v", again)
	}
}

// Who leaves all groups touches what they have asked of one only once it is
// locked, as whoever answers it does: so neither waits for the other with what
// the other waits for.
func TestWhoLeavesWaitsForWhoAnswersThem(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 2)
	gone, owner := u[0], u[1]
	asked := newGroup(t, db, owner)
	changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.AskToJoin(ctx, asked, gone, "", im.Now(), 1)
		return err
	})
	left, answered := make(chan struct{}), make(chan struct{})
	var leaving sync.WaitGroup
	changing(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		defer close(answered)
		if _, err := tx.LockGroup(ctx, asked, owner); err != nil {
			return err
		}
		leaving.Go(func() {
			_, _, err := db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
				_, err := tx.LeaveAllGroups(ctx, gone)
				close(left)
				<-answered
				return err
			}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
			if err != nil {
				t.Error(err)
			}
		})
		for deadline := time.Now().Add(imtest.Patience(t)); pgtest.Count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted`) == 0; {
			select {
			case <-left:
				t.Error("they have not waited for the group")
				return nil
			case <-time.After(time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Error("nobody waits")
				return nil
			}
		}
		was, err := tx.DropJoinRequest(ctx, asked, gone)
		if !was {
			t.Error("they had not asked")
		}
		return err
	})
	leaving.Wait()
}

// Users are deleted while they are added to groups, made the owners of them and
// removed: none of them is in any after that, and nobody waits for each other.
func TestNobodyGetsIntoAGroupOnceTheyAreGone(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 24)
	stays := u[0]
	var groups []string
	for i := range 4 {
		groups = append(groups, newGroup(t, db, u[1+i], stays))
	}
	change := func(f func(context.Context, *pgtest.Tx) error) {
		_, _, err := db.Change(ctx, f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
		if err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	for i, g := range groups {
		all.Go(func() {
			for n := range 40 {
				users := []string{u[1+(n+i*5)%23], u[1+(n*3+i)%23]}
				change(func(ctx context.Context, tx *pgtest.Tx) error {
					found, err := tx.HoldUsers(ctx, users)
					if err != nil {
						return err
					}
					if _, err := tx.LockGroup(ctx, g, stays); err != nil {
						return err
					}
					in, err := tx.InGroup(ctx, g, users)
					if err != nil {
						return err
					}
					found = slices.DeleteFunc(found, func(u string) bool { return in[u].Role != im.RoleNone })
					if len(found) == 0 {
						return nil
					}
					_, err = tx.AddMembers(ctx, g, found, im.Now())
					return err
				})
			}
		})
		all.Go(func() {
			for n := range 40 {
				user := u[1+(n*7+i)%23]
				change(func(ctx context.Context, tx *pgtest.Tx) error {
					if _, err := tx.LockGroup(ctx, g, stays); err != nil {
						return err
					}
					in, err := tx.InGroup(ctx, g, []string{user})
					if r := in[user].Role; err != nil || r == im.RoleNone || r == im.RoleOwner {
						return err
					}
					if n%2 == 0 {
						_, err = tx.HandOver(ctx, g, user)
					} else {
						_, _, err = tx.RemoveMembers(ctx, g, []string{user})
					}
					return err
				})
			}
		})
	}
	for _, gone := range u[1:] {
		all.Go(func() {
			change(func(ctx context.Context, tx *pgtest.Tx) error {
				if _, err := tx.LeaveAllGroups(ctx, gone); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `UPDATE users SET deleted = now(), account = NULL WHERE id = $1`, gone)
				return err
			})
		})
	}
	all.Wait()
	got, err := db.GroupMembers(ctx, groups)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if m := got[g]; !slices.Equal(m.Users, u[:1]) || !slices.Equal(m.Staff, u[:1]) {
			t.Errorf("members = %+v", m)
		}
	}
}

// TestQueriesOfGroupsReadIndexes is TestQueriesReadIndexes of groups.
func TestQueriesOfGroupsReadIndexes(t *testing.T) {
	db := pgtest.Opened(t, imtest.Env(t, map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "POSTGRES_POOL": "1"}))
	ctx := t.Context()
	for _, sql := range []string{
		`INSERT INTO users (id, account, name, password) SELECT s, s, s, '' FROM (SELECT 'user' || lpad(i::text, 12, '0') AS s FROM generate_series(0, 39999) i) x`,
		`INSERT INTO groups (id, name, owner_id, members, created) SELECT 'grup' || right(id, 12), 'g', id, 40, now() FROM users WHERE right(id, 2) = '00'`,
		`INSERT INTO groups (id, name, owner_id, members, created) SELECT 'huge000000000000', 'g', 'user000000000000', 2000, now()`,
		`INSERT INTO group_members (group_id, user_id, role, joined) SELECT id, owner_id, 'owner', now() FROM groups`,
		`INSERT INTO group_members (group_id, user_id, role, joined, version)
			SELECT 'grup' || lpad((i % 400 * 100)::text, 12, '0'), 'user' || lpad(i::text, 12, '0'), 'member', now(), i FROM generate_series(0, 39999) i
			ON CONFLICT (group_id, user_id) DO NOTHING`,
		`INSERT INTO group_members (group_id, user_id, role, joined, version)
			SELECT 'huge000000000000', id, 'member', now(), right(id, 4)::int FROM users WHERE id < 'user000000002000'
			ON CONFLICT (group_id, user_id) DO NOTHING`,
		`INSERT INTO group_departures SELECT 'huge000000000000', id, right(id, 4)::int FROM users WHERE id > 'user000000030000'`,
		`INSERT INTO group_join_requests SELECT group_id, 'user' || lpad(((right(user_id, 12)::int + 7) % 40000)::text, 12, '0'), '', now() FROM group_members WHERE group_id < 'h'`,
		`INSERT INTO group_bans (group_id, user_id, by_id, created) SELECT group_id, 'user' || lpad(((right(user_id, 12)::int + 9) % 40000)::text, 12, '0'), user_id, now() FROM group_members WHERE group_id < 'h'`,
		`UPDATE groups g SET members = (SELECT count(*) FROM group_members m WHERE m.group_id = g.id)`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const huge, user, small = "huge000000000000", "user000000000100", "grup000000000100"
	before := pgtest.Scans(t, db)
	for i := range 8 {
		other, third := fmt.Sprintf("user%012d", 20_100+i), fmt.Sprintf("user%012d", 21_100+i)
		inTx := func(f func(ctx context.Context, tx *pgtest.Tx) error) func() error {
			return func() error {
				_, _, err := db.Change(ctx, f, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
				return err
			}
		}
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"Group", func() error { _, err := db.Group(ctx, small, user); return err }},
			{"Groups", func() error { _, err := db.Groups(ctx, user, 0, "", 50); return err }},
			{"GroupMembers", func() error { _, err := db.GroupMembers(ctx, []string{huge}); return err }},
			{"MemberList", func() error { _, err := db.MemberList(ctx, huge, "user000000000100", 201); return err }},
			{"MembersSince", func() error { _, err := db.MembersSince(ctx, huge, 1500, "~", 201); return err }},
			{"JoinRequests", func() error { _, err := db.JoinRequests(ctx, small, 0, "", 51); return err }},
			{"a join", inTx(func(ctx context.Context, tx *pgtest.Tx) error {
				if _, err := tx.HoldUsers(ctx, []string{other, third}); err != nil {
					return err
				}
				if _, err := tx.InManyGroups(ctx, []string{other, third}, 1000); err != nil {
					return err
				}
				if _, err := tx.LockGroup(ctx, huge, other); err != nil {
					return err
				}
				if _, err := tx.InGroup(ctx, huge, []string{other, third}); err != nil {
					return err
				}
				if _, err := tx.AskToJoin(ctx, huge, other, "", im.Now(), 200); err != nil {
					return err
				}
				if _, err := tx.HasAsked(ctx, huge, other); err != nil {
					return err
				}
				if _, err := tx.HaveLeft(ctx, huge, other); err != nil {
					return err
				}
				_, err := tx.AddMembers(ctx, huge, []string{other, third}, im.Now())
				return err
			})},
			{"changes", inTx(func(ctx context.Context, tx *pgtest.Tx) error {
				if _, err := tx.StaffOf(ctx, huge); err != nil {
					return err
				}
				if _, err := tx.MembersOf(ctx, huge); err != nil {
					return err
				}
				if _, err := tx.SetRole(ctx, huge, other, im.RoleAdmin); err != nil {
					return err
				}
				if _, err := tx.HandOver(ctx, huge, other); err != nil {
					return err
				}
				if _, err := tx.MuteMember(ctx, huge, third, im.Now()+1e6); err != nil {
					return err
				}
				if _, err := tx.MuteGroup(ctx, huge, i%2 == 0); err != nil {
					return err
				}
				about := fmt.Sprint(i)
				if _, err := tx.UpdateGroup(ctx, huge, im.GroupChange{About: &about}); err != nil {
					return err
				}
				_, _, err := tx.RemoveMembers(ctx, huge, []string{third})
				return err
			})},
			{"Bans", func() error { _, err := db.Bans(ctx, small, 0, "", 51); return err }},
			{"GroupAdds", func() error { _, err := db.GroupAdds(ctx, []string{user, other}); return err }},
			{"bans", inTx(func(ctx context.Context, tx *pgtest.Tx) error {
				if _, _, err := tx.Ban(ctx, huge, []string{third}, im.GroupBan{By: user, Created: im.Now()}); err != nil {
					return err
				}
				if _, err := tx.Banned(ctx, huge, []string{third, other}); err != nil {
					return err
				}
				if _, err := tx.Announced(ctx, huge, []string{third, other}, im.Now()); err != nil {
					return err
				}
				if err := tx.Announce(ctx, huge, []string{third, other}, im.Now()); err != nil {
					return err
				}
				if err := tx.NoteLeft(ctx, huge, third, im.Now()); err != nil {
					return err
				}
				if _, err := tx.LeftAfter(ctx, huge, []string{third}, im.Now()); err != nil {
					return err
				}
				_, err := tx.Unban(ctx, huge, third)
				return err
			})},
			{"leaving all", inTx(func(ctx context.Context, tx *pgtest.Tx) error { _, err := tx.LeaveAllGroups(ctx, other); return err })},
			{"dissolving", inTx(func(ctx context.Context, tx *pgtest.Tx) error {
				_, _, err := tx.DissolveGroup(ctx, fmt.Sprintf("grup%012d", 1000+100*i))
				return err
			})},
		} {
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
