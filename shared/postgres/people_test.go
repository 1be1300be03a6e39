package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// people adds users and returns their ids.
func people(t testing.TB, db *DB, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = im.NewID()
		u := im.User{ID: ids[i], Account: "u-" + ids[i], Name: fmt.Sprint("User ", i)}
		if err := db.CreateUser(t.Context(), u, "hash"); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestUsers(t *testing.T) {
	db := fresh(t)
	ann := im.User{ID: im.NewID(), Account: "ann", Name: "Ann 😀"}
	wants(t, db.CreateUser(t.Context(), ann, "$argon2id$x"), "")

	got, hash, err := db.UserByAccount(t.Context(), "ann")
	if err != nil || got != ann || hash != "$argon2id$x" {
		t.Errorf("user = %v, %q, %v; want %v", got, hash, err, ann)
	}
	_, _, err = db.UserByAccount(t.Context(), "bob")
	wants(t, err, im.NotFound)

	other := im.User{ID: im.NewID(), Account: "ann", Name: "Another"}
	err = db.CreateUser(t.Context(), other, "h")
	wants(t, err, im.Conflict)
	if p := im.ProblemOf(err); !strings.Contains(p.Detail, "taken") || strings.Contains(p.Detail, "SQL") {
		t.Errorf("a client is told %q", p.Detail)
	}
}

func TestSessions(t *testing.T) {
	db := fresh(t)
	ctx := t.Context()
	user := people(t, db, 1)[0]
	later := time.Now().Add(time.Hour)
	hash := func(s string) []byte { return []byte(fmt.Sprintf("%-32s", s)) }
	open := func(t *testing.T, device, token string, expires time.Time) im.Session {
		t.Helper()
		s := im.Session{ID: im.NewID(), User: user, Device: device, Platform: "web", Created: im.Now()}
		_, err := db.CreateSession(ctx, s, hash(token), expires)
		wants(t, err, "")
		return s
	}

	t.Run("a token is good once, and its successor after it", func(t *testing.T) {
		s := open(t, "a", "a1", later)
		for i := 1; i < 4; i++ {
			got, err := db.RotateRefresh(ctx, hash(fmt.Sprint("a", i)), hash(fmt.Sprint("a", i+1)), later)
			if err != nil || got != s {
				t.Fatalf("rotation %d = %v, %v; want %v", i, got, err, s)
			}
		}
	})
	t.Run("a token that was used before ends its session", func(t *testing.T) {
		s := open(t, "b", "b1", later)
		_, err := db.RotateRefresh(ctx, hash("b1"), hash("b2"), later)
		wants(t, err, "")
		got, err := db.RotateRefresh(ctx, hash("b1"), hash("b3"), later)
		wants(t, err, im.Denied)
		if got != s {
			t.Errorf("session = %v, want %v", got, s)
		}
		for _, token := range []string{"b1", "b2", "b3"} {
			got, err := db.RotateRefresh(ctx, hash(token), hash("b4"), later)
			wants(t, err, im.Unauthenticated)
			if got != (im.Session{}) {
				t.Errorf("a refusal tells of session %v", got)
			}
		}
	})
	t.Run("of those who use a token at once one is served, and the session ends", func(t *testing.T) {
		open(t, "c", "c1", later)
		var mu sync.Mutex
		kinds := map[im.Kind]int{}
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				_, err := db.RotateRefresh(ctx, hash("c1"), hash(fmt.Sprint("c2-", i)), later)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					kinds[""]++
				} else {
					kinds[im.KindOf(err)]++
				}
			})
		}
		all.Wait()
		if kinds[""] != 1 || kinds[im.Denied] != 1 || kinds[im.Unauthenticated] != 2 {
			t.Errorf("outcomes = %v", kinds)
		}
	})
	t.Run("what is unknown, expired or ended is not taken", func(t *testing.T) {
		open(t, "d", "d1", time.Now().Add(-time.Second))
		ended := open(t, "e", "e1", later)
		wants(t, db.EndSession(ctx, ended.ID), "")
		wants(t, db.EndSession(ctx, ended.ID), "")
		wants(t, db.EndSession(ctx, im.NewID()), "")
		for _, token := range []string{"none", "d1", "e1"} {
			_, err := db.RotateRefresh(ctx, hash(token), hash(token+"+"), later)
			wants(t, err, im.Unauthenticated)
		}
	})
	t.Run("a device has one session", func(t *testing.T) {
		open(t, "f", "f1", later)
		open(t, "f", "f2", later)
		_, err := db.RotateRefresh(ctx, hash("f1"), hash("f3"), later)
		wants(t, err, im.Unauthenticated)
		_, err = db.RotateRefresh(ctx, hash("f2"), hash("f4"), later)
		wants(t, err, "")
	})
	t.Run("tokens that have expired are swept away", func(t *testing.T) {
		s := open(t, "g", "g1", later)
		if _, err := db.pool.Exec(ctx, `INSERT INTO refresh_tokens VALUES ($1, $2, now() - interval '1 day', now())`, hash("g0"), s.ID); err != nil {
			t.Fatal(err)
		}
		_, err := db.RotateRefresh(ctx, hash("g1"), hash("g2"), later)
		wants(t, err, "")
		var n int
		if err := db.pool.QueryRow(ctx, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1`, s.ID).Scan(&n); err != nil || n != 2 {
			t.Errorf("%d tokens are left, %v; want 2", n, err)
		}
	})
	t.Run("nobody has no session", func(t *testing.T) {
		s := im.Session{ID: im.NewID(), User: im.NewID(), Device: "x", Platform: "web", Created: im.Now()}
		_, err := db.CreateSession(ctx, s, hash("x1"), later)
		wants(t, err, im.NotFound)
	})
	t.Run("a device that signs in again ends the session that it had", func(t *testing.T) {
		first := open(t, "twice", "t1", later)
		for _, want := range []string{first.ID, ""} {
			s := im.Session{ID: im.NewID(), User: user, Device: "twice", Platform: "web", Created: im.Now()}
			ended, err := db.CreateSession(ctx, s, hash("t-"+s.ID), later)
			if err != nil || ended != want {
				t.Errorf("ended %q, %v; want %q", ended, err, want)
			}
			wants(t, db.EndSession(ctx, s.ID), "")
		}
	})
}

func TestRelations(t *testing.T) {
	db := fresh(t)
	ctx := t.Context()
	u := people(t, db, 4)
	nobody := im.NewID()
	for _, row := range []struct{ table, a, b string }{
		{"blocks (user_id, blocked_id)", u[0], u[1]},
		{"friendships (user_id, friend_id)", u[0], u[2]},
		{"friendships (user_id, friend_id)", u[2], u[0]},
	} {
		if _, err := db.pool.Exec(ctx, `INSERT INTO `+row.table+` VALUES ($1, $2)`, row.a, row.b); err != nil {
			t.Fatal(err)
		}
	}
	want := map[im.Pair]im.Relation{
		{A: u[0], B: u[1]}:   {Exist: true, Blocked: true},
		{A: u[1], B: u[0]}:   {Exist: true, Blocked: true},
		{A: u[0], B: u[2]}:   {Exist: true, Friends: true},
		{A: u[2], B: u[0]}:   {Exist: true, Friends: true},
		{A: u[0], B: u[3]}:   {Exist: true},
		{A: u[0], B: nobody}: {},
		{A: nobody, B: u[0]}: {},
	}
	var pairs []im.Pair
	for p := range want {
		pairs = append(pairs, p)
	}
	got, err := db.Relations(ctx, pairs)
	if err != nil || len(got) != len(want) {
		t.Fatalf("relations = %v, %v", got, err)
	}
	for p, r := range want {
		if got[p] != r {
			t.Errorf("relation of %v = %v, want %v", p, got[p], r)
		}
	}
	if got, err := db.Relations(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("relations of nobody = %v, %v", got, err)
	}
}

func TestGroups(t *testing.T) {
	db := fresh(t)
	ctx := t.Context()
	u := people(t, db, 4)
	group := func(owner string, members ...string) im.GroupInfo {
		id := im.NewID()
		return im.GroupInfo{ID: id, Conversation: im.Group(id), Name: "G", Owner: owner, Members: members, Created: im.Now()}
	}

	g := group(u[0], u[1], u[2], u[1])
	wants(t, db.CreateGroup(ctx, g), "")
	h := group(u[3])
	wants(t, db.CreateGroup(ctx, h), "")

	got, err := db.GroupMembers(ctx, []string{g.ID, h.ID, im.NewID()})
	if err != nil || len(got) != 2 {
		t.Fatalf("members = %v, %v; want two groups", got, err)
	}
	three := slices.Sorted(slices.Values(u[:3]))
	if m := got[g.ID]; m.Version != 1 || !slices.Equal(m.Users, three) {
		t.Errorf("members = %v, want %v of version 1", m, three)
	}
	if m := got[h.ID]; !slices.Equal(m.Users, u[3:]) {
		t.Errorf("members = %v, want the owner", m)
	}
	for _, tt := range []struct {
		group, user string
		want        bool
	}{{g.ID, u[0], true}, {g.ID, u[2], true}, {g.ID, u[3], false}, {h.ID, u[0], false}, {im.NewID(), u[0], false}} {
		if is, err := db.IsMember(ctx, tt.group, tt.user); err != nil || is != tt.want {
			t.Errorf("%s in %s: %v, %v; want %v", tt.user, tt.group, is, err, tt.want)
		}
	}
	var roles string
	if err := db.pool.QueryRow(ctx, `SELECT string_agg(role, ' ' ORDER BY role DESC) FROM group_members WHERE group_id = $1`, g.ID).Scan(&roles); err != nil || roles != "owner member member" {
		t.Errorf("roles = %q, %v", roles, err)
	}

	t.Run("users that there are not are named, and nothing is made", func(t *testing.T) {
		a, b := im.NewID(), im.NewID()
		g := group(u[0], a, u[1], b)
		err := db.CreateGroup(ctx, g)
		wants(t, err, im.NotFound)
		if d := im.ProblemOf(err).Detail; !strings.Contains(d, a) || !strings.Contains(d, b) || strings.Contains(d, u[1]) {
			t.Errorf("a client is told %q", d)
		}
		if got, err := db.GroupMembers(ctx, []string{g.ID}); err != nil || len(got) != 0 {
			t.Errorf("members = %v, %v; want no group", got, err)
		}
		many := make([]string, 100)
		for i := range many {
			many[i] = im.NewID()
		}
		if d := im.ProblemOf(db.CreateGroup(ctx, group(u[0], many...))).Detail; len(d) > 200 {
			t.Errorf("a client is told %d bytes", len(d))
		}
	})
	t.Run("an owner that there is not is no owner", func(t *testing.T) {
		err := db.CreateGroup(ctx, group(im.NewID(), u[0]))
		if !errors.Is(err, im.NotFound) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a group of the most members", func(t *testing.T) {
		if _, err := db.pool.Exec(ctx, `INSERT INTO users (id, account, name, password)
			SELECT s, s, s, '' FROM (SELECT 'many' || lpad(i::text, 12, '0') AS s FROM generate_series(1, $1) i) x`, im.MaxGroup-1); err != nil {
			t.Fatal(err)
		}
		var members []string
		for i := 1; i < im.MaxGroup; i++ {
			members = append(members, fmt.Sprintf("many%012d", i))
		}
		g := group(u[0], members...)
		wants(t, db.CreateGroup(ctx, g), "")
		got, err := db.GroupMembers(ctx, []string{g.ID})
		if err != nil || len(got[g.ID].Users) != im.MaxGroup {
			t.Errorf("%d members, %v", len(got[g.ID].Users), err)
		}
	})
}
