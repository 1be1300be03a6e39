package users_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres/users"
)

func TestSessions(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	later := pgtest.Later()
	open := func(t *testing.T, device, name string, expires time.Time) im.Session {
		t.Helper()
		s := im.Session{ID: im.NewID(), User: user, Device: device, Platform: "web", Created: im.Now()}
		_, err := db.CreateSession(ctx, s, "hash", pgtest.Token(name), expires, 100)
		pgtest.Wants(t, err, "")
		s.Proved = s.Created // by signing in
		return s
	}
	rotate := func(from, to string, grace time.Duration) (im.Session, error) {
		return db.RotateRefresh(ctx, pgtest.Token(from), pgtest.Token(to), later, grace)
	}
	is := func(t *testing.T, kind im.Kind, from, to string, grace time.Duration) {
		t.Helper()
		_, err := rotate(from, to, grace)
		pgtest.Wants(t, err, kind)
	}

	t.Run("a token is good once, and its successor after it", func(t *testing.T) {
		s := open(t, "a", "a1", later)
		for i := 1; i < 4; i++ {
			got, err := rotate(fmt.Sprint("a", i), fmt.Sprint("a", i+1), 0)
			if err != nil || got != s {
				t.Fatalf("rotation %d = %v, %v; want %v", i, got, err, s)
			}
		}
	})
	t.Run("what was proved by a session stays known", func(t *testing.T) {
		s := open(t, "p", "p1", later)
		got, err := db.ProveSession(ctx, user, s.ID)
		if err != nil || got.Proved <= s.Created || got.Created != s.Created || got.Device != "p" || got.Platform != "web" {
			t.Fatalf("%+v, %v", got, err)
		}
		if next, err := rotate("p1", "p2", 0); err != nil || next != got {
			t.Errorf("%+v, %v; want %+v", next, err, got)
		}
		_, err = db.ProveSession(ctx, "bbbbbbbbbbbbbbbb", s.ID)
		pgtest.Wants(t, err, im.NotFound)
		pgtest.Wants(t, db.EndSession(ctx, user, s.ID), "")
		_, err = db.ProveSession(ctx, user, s.ID)
		pgtest.Wants(t, err, im.NotFound)
	})
	t.Run("a token that was used before ends its session", func(t *testing.T) {
		s := open(t, "b", "b1", later)
		is(t, "", "b1", "b2", 0)
		got, err := rotate("b1", "b3", 0)
		pgtest.Wants(t, err, im.Denied)
		if got != s {
			t.Errorf("session = %v, want %v", got, s)
		}
		for _, name := range []string{"b1", "b2", "b3"} {
			got, err := rotate(name, "b4", 0)
			pgtest.Wants(t, err, im.Unauthenticated)
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
				_, err := rotate("c1", fmt.Sprint("c2-", i), 0)
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
		pgtest.Wants(t, db.EndSession(ctx, user, ended.ID), "")
		pgtest.Wants(t, db.EndSession(ctx, user, ended.ID), "")
		pgtest.Wants(t, db.EndSession(ctx, user, im.NewID()), im.NotFound)
		for _, name := range []string{"none", "d1", "e1"} {
			is(t, im.Unauthenticated, name, name+"+", time.Minute)
		}
	})
	t.Run("a device has one session", func(t *testing.T) {
		open(t, "f", "f1", later)
		open(t, "f", "f2", later)
		is(t, im.Unauthenticated, "f1", "f3", 0)
		is(t, "", "f2", "f4", 0)
	})
	t.Run("tokens that have expired are swept away by the next", func(t *testing.T) {
		s := open(t, "g", "g1", later)
		if _, err := db.Exec(ctx, `INSERT INTO refresh_tokens VALUES ($1, $2, now() - interval '1 day', now())`, pgtest.Token("g0"), s.ID); err != nil {
			t.Fatal(err)
		}
		is(t, "", "g1", "g2", 0)
		if n := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1`, s.ID); n != 2 {
			t.Errorf("%d tokens are left; want 2", n)
		}
	})
	t.Run("P7: of used tokens the newest are kept", func(t *testing.T) {
		s := open(t, "h", "h1", later)
		if _, err := db.Exec(ctx, `
			INSERT INTO refresh_tokens SELECT sha256(i::text::bytea), $1, now() + i * interval '1 second', now() FROM generate_series(1, $2) i`, s.ID, users.MaxUsed+5); err != nil {
			t.Fatal(err)
		}
		is(t, "", "h1", "h2", 0)
		if n := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1 AND used IS NOT NULL`, s.ID); n != users.MaxUsed {
			t.Errorf("%d used tokens are kept, want %d", n, users.MaxUsed)
		}
		is(t, "", "h2", "h3", 0)
		is(t, im.Denied, "h2", "h4", 0) // among them the one that was used last
	})
	t.Run("nobody has no session", func(t *testing.T) {
		s := im.Session{ID: im.NewID(), User: im.NewID(), Device: "x", Platform: "web", Created: im.Now()}
		_, err := db.CreateSession(ctx, s, "hash", pgtest.Token("x1"), later, 9)
		pgtest.Wants(t, err, im.NotFound)
	})
	t.Run("a device that signs in again ends the session that it had", func(t *testing.T) {
		first := open(t, "twice", "t1", later)
		for _, want := range [][]string{{first.ID}, nil} {
			s := im.Session{ID: im.NewID(), User: user, Device: "twice", Platform: "web", Created: im.Now()}
			ended, err := db.CreateSession(ctx, s, "hash", pgtest.Token(s.ID), later, 100)
			if err != nil || !slices.Equal(ended, want) {
				t.Errorf("ended %q, %v; want %q", ended, err, want)
			}
			pgtest.Wants(t, db.EndSession(ctx, user, s.ID), "")
		}
	})
	t.Run("P6: nobody ends a session of another", func(t *testing.T) {
		s := open(t, "i", "i1", later)
		pgtest.Wants(t, db.EndSession(ctx, pgtest.People(t, db, 1)[0], s.ID), im.NotFound)
		is(t, "", "i1", "i2", 0)
	})
}

// The answer to a refresh is lost, or seems to be.
func TestP6RefreshTokensWithGrace(t *testing.T) {
	db := pgtest.Fresh(t)
	user := pgtest.People(t, db, 1)[0]
	const grace = time.Hour
	type use struct {
		from, to string
		want     im.Kind
	}
	for _, tt := range []struct {
		name string
		uses []use
	}{
		{"a token whose answer was lost is good again", []use{{"1", "2", ""}, {"1", "3", ""}, {"3", "4", ""}}},
		{"and once more", []use{{"1", "2", ""}, {"1", "3", ""}, {"1", "4", ""}, {"4", "5", ""}}},
		{"but not what the lost answer held: somebody has it", []use{{"1", "2", ""}, {"1", "3", ""}, {"2", "4", im.Denied}, {"3", "5", im.Unauthenticated}}},
		{"nor once the answer has come: somebody has the token", []use{{"1", "2", ""}, {"2", "3", ""}, {"1", "4", im.Denied}, {"3", "5", im.Unauthenticated}}},
		{"nor one that was replaced, twice", []use{{"1", "2", ""}, {"1", "3", ""}, {"1", "4", ""}, {"2", "5", im.Denied}, {"4", "6", im.Unauthenticated}}},
		{"nor any before it", []use{{"1", "2", ""}, {"2", "3", ""}, {"2", "4", ""}, {"1", "5", im.Denied}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := pgtest.SignIn(t, db, user, tt.name)
			name := func(n string) []byte {
				if n == "1" {
					return pgtest.Token(user + tt.name)
				}
				return pgtest.Token(tt.name + n)
			}
			for i, u := range tt.uses {
				got, err := db.RotateRefresh(t.Context(), name(u.from), name(u.to), pgtest.Later(), grace)
				if im.KindOf(err) != u.want && (u.want != "" || err != nil) {
					t.Fatalf("use %d, of %s: %v, want %q", i, u.from, err, u.want)
				}
				if (err == nil || u.want == im.Denied) && got.ID != s {
					t.Errorf("use %d: session %q", i, got.ID)
				}
			}
			if good := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE s.id = $1 AND s.ended IS NULL AND used IS NULL`, s); good > 1 {
				t.Errorf("%d tokens are good at once", good)
			}
		})
	}
	t.Run("nor when it is over", func(t *testing.T) {
		s := pgtest.SignIn(t, db, user, "over")
		_, err := db.RotateRefresh(t.Context(), pgtest.Token(user+"over"), pgtest.Token("over2"), pgtest.Later(), grace)
		pgtest.Wants(t, err, "")
		if _, err := db.Exec(t.Context(), `UPDATE refresh_tokens SET used = used - interval '1 hour' WHERE session_id = $1 AND used IS NOT NULL`, s); err != nil {
			t.Fatal(err)
		}
		_, err = db.RotateRefresh(t.Context(), pgtest.Token(user+"over"), pgtest.Token("over3"), pgtest.Later(), grace)
		pgtest.Wants(t, err, im.Denied)
	})
	t.Run("of those who use a token at once the last has the good one", func(t *testing.T) {
		s := pgtest.SignIn(t, db, user, "once")
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				if _, err := db.RotateRefresh(t.Context(), pgtest.Token(user+"once"), pgtest.Token(fmt.Sprint("once", i)), pgtest.Later(), grace); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if good := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1 AND used IS NULL`, s); good != 1 {
			t.Errorf("%d tokens are good", good)
		}
	})
}

func TestP7AUserHasSoManySessions(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	other := pgtest.SignIn(t, db, u[1], "other")
	var had []string
	for i := range 4 {
		had = append(had, pgtest.SignIn(t, db, u[0], fmt.Sprint(i)))
	}
	// The first was used since.
	if _, err := db.Exec(ctx, `UPDATE sessions SET seen = now() + interval '1 minute' WHERE id = $1`, had[0]); err != nil {
		t.Fatal(err)
	}
	s := im.Session{ID: im.NewID(), User: u[0], Device: "new", Platform: "web", Created: im.Now()}
	ended, err := db.CreateSession(ctx, s, "hash", pgtest.Token("new"), pgtest.Later(), 3)
	slices.Sort(ended)
	if err != nil || !slices.Equal(ended, slices.Sorted(slices.Values(had[1:3]))) {
		t.Errorf("ended %v, %v; want %v", ended, err, had[1:3])
	}
	got, err := db.Sessions(ctx, u[0], 9)
	if err != nil || len(got) != 3 || got[0].ID != had[0] || got[1].ID != s.ID || got[2].ID != had[3] {
		t.Errorf("sessions = %v, %v", got, err)
	}
	if got, err := db.Sessions(ctx, u[1], 9); err != nil || len(got) != 1 || got[0].ID != other || got[0].Seen < got[0].Created {
		t.Errorf("sessions of another = %v, %v", got, err)
	}
	if got, err := db.Sessions(ctx, u[0], 2); err != nil || len(got) != 2 {
		t.Errorf("%d sessions of at most 2, %v", len(got), err)
	}
	t.Run("even when they sign in at once", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				s := im.Session{ID: im.NewID(), User: u[0], Device: fmt.Sprint("at once ", i), Platform: "web", Created: im.Now()}
				if _, err := db.CreateSession(ctx, s, "hash", pgtest.Token(s.ID), pgtest.Later(), 3); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, err := db.Sessions(ctx, u[0], 9); err != nil || len(got) != 3 {
			t.Errorf("%d sessions, %v", len(got), err)
		}
	})
}

func TestSessionsAreSeen(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	s := pgtest.SignIn(t, db, user, "a")
	seen := func() im.Time {
		t.Helper()
		got, err := db.Sessions(ctx, user, 1)
		pgtest.Wants(t, err, "")
		return got[0].Seen
	}
	first := seen()
	_, err := db.RotateRefresh(ctx, pgtest.Token(user+"a"), pgtest.Token("2"), pgtest.Later(), 0)
	pgtest.Wants(t, err, "")
	if seen() != first {
		t.Error("the row is written each time, within the minute")
	}
	if _, err := db.Exec(ctx, `UPDATE sessions SET seen = seen - interval '1 hour' WHERE id = $1`, s); err != nil {
		t.Fatal(err)
	}
	_, err = db.RotateRefresh(ctx, pgtest.Token("2"), pgtest.Token("3"), pgtest.Later(), 0)
	pgtest.Wants(t, err, "")
	if seen() < first {
		t.Error("a session that gets tokens is not seen")
	}
}

func TestSessionsThatEndedAreToldOfUntilTheyAre(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	a, b := pgtest.SignIn(t, db, user, "a"), pgtest.SignIn(t, db, user, "b")
	pgtest.SignIn(t, db, user, "c")
	pgtest.Wants(t, db.EndSession(ctx, user, a), "")
	pgtest.Wants(t, db.EndSession(ctx, user, b), "")
	untold := func(age time.Duration, want ...string) {
		t.Helper()
		got, err := db.Untold(ctx, age, 9)
		var ids []string
		for _, s := range got {
			if ids = append(ids, s.ID); s.User != user {
				t.Errorf("%+v", s)
			}
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("untold %v, %v; want %v", ids, err, want)
		}
	}
	untold(0, a, b)
	untold(time.Minute)
	pgtest.Wants(t, db.Told(ctx, []string{a, im.NewID()}), "")
	untold(0, b)
	pgtest.Wants(t, db.EndSession(ctx, user, a), "") // again
	untold(0, b)
}

func TestSweepingSessions(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	good, over, used := pgtest.SignIn(t, db, user, "good"), pgtest.SignIn(t, db, user, "over"), pgtest.SignIn(t, db, user, "used")
	old, recent, untold := pgtest.SignIn(t, db, user, "old"), pgtest.SignIn(t, db, user, "recent"), pgtest.SignIn(t, db, user, "untold")
	if _, err := db.RotateRefresh(ctx, pgtest.Token(user+"used"), pgtest.Token("used2"), pgtest.Later(), 0); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{old, recent, untold} {
		pgtest.Wants(t, db.EndSession(ctx, user, s), "")
	}
	pgtest.Wants(t, db.Told(ctx, []string{old, recent}), "")
	for query, arg := range map[string]any{
		`UPDATE refresh_tokens SET expires = now() - interval '1 second' WHERE hash = ANY ($1)`: [][]byte{pgtest.Token(user + "over"), pgtest.Token(user + "used")},
		`UPDATE sessions SET ended = ended - interval '31 days' WHERE id = ANY ($1)`:            []string{old, untold},
	} {
		if _, err := db.Exec(ctx, query, arg); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range 3 { // at once
		all.Go(func() {
			_, err := db.SweepTokens(ctx, 100)
			if err == nil {
				_, err = db.SweepSessions(ctx, 30*24*time.Hour, 100)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for id, want := range map[string]string{good: "on", over: "ended", used: "on", old: "", recent: "ended", untold: "ended"} {
		var got string
		db.QueryRow(ctx, `SELECT CASE WHEN ended IS NULL THEN 'on' ELSE 'ended' END FROM sessions WHERE id = $1`, id).Scan(&got)
		if got != want {
			t.Errorf("session %v is %q, want %q", slices.Index([]string{good, over, used, old, recent, untold}, id), got, want)
		}
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens WHERE expires <= now()`); n != 0 {
		t.Errorf("%d tokens that have expired are left", n)
	}
	if n, err := db.SweepTokens(ctx, 100); n != 0 || err != nil {
		t.Errorf("swept %d more, %v", n, err)
	}
}
