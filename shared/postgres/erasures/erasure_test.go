package erasures_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func TestUsersAreForgotten(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	yes, email, phone, other := true, "a@b.c", "+4912345678", "x"
	for _, id := range u {
		_, err := db.UpdateUser(ctx, id, im.UserChange{Bio: &other, Avatar: &other, Email: &email, Phone: &phone, FindByEmail: &yes, FindByPhone: &yes})
		pgtest.Wants(t, err, "")
	}
	on := []string{pgtest.SignIn(t, db, u[0], "a"), pgtest.SignIn(t, db, u[0], "b")}
	off := pgtest.SignIn(t, db, u[0], "c")
	pgtest.Wants(t, db.EndSession(ctx, u[0], off), "")
	kept := pgtest.SignIn(t, db, u[1], "a")

	_, _, err := pgtest.Forget(t, db, u[0], "another hash")
	pgtest.Wants(t, err, im.Conflict)
	_, _, err = pgtest.Forget(t, db, im.NewID(), "hash")
	pgtest.Wants(t, err, im.NotFound)
	if _, err := db.Self(ctx, u[0]); err != nil {
		t.Errorf("what was refused was done: %v", err)
	}

	sessions, was, err := pgtest.Forget(t, db, u[0], "hash")
	slices.Sort(sessions)
	slices.Sort(on)
	if err != nil || !was || !slices.Equal(sessions, on) {
		t.Errorf("forgotten: %v, %v, %v; want %v", sessions, was, err, on)
	}
	sessions, was, err = pgtest.Forget(t, db, u[0], "hash")
	if err != nil || was || len(sessions) > 0 {
		t.Errorf("again: %v, %v, %v", sessions, was, err)
	}
	if p, err := db.Profile(ctx, u[0]); err != nil || p != (im.Profile{ID: u[0], Deleted: true}) {
		t.Errorf("profile %+v, %v", p, err)
	}
	for name, err := range map[string]error{
		"Self":       pgtest.Second(db.Self(ctx, u[0])),
		"UpdateUser": pgtest.Second(db.UpdateUser(ctx, u[0], im.UserChange{Bio: &other})),
		"Password":   func() error { _, _, err := db.Password(ctx, u[0]); return err }(),
		"ByAccount":  func() error { _, _, err := db.UserByAccount(ctx, "u-"+u[0]); return err }(),
		"SignIn": pgtest.Second(db.CreateSession(ctx, im.Session{ID: im.NewID(), User: u[0], Device: "d", Platform: "web", Created: im.Now()},
			"hash", pgtest.Token("d"), pgtest.Later(), 9)),
		"SignIn with the empty hash": pgtest.Second(db.CreateSession(ctx, im.Session{ID: im.NewID(), User: u[0], Device: "d", Platform: "web", Created: im.Now()},
			"", pgtest.Token("d"), pgtest.Later(), 9)),
	} {
		if im.KindOf(err) != im.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = db.RotateRefresh(ctx, pgtest.Token(u[0]+"a"), pgtest.Token("2"), pgtest.Later(), time.Hour)
	pgtest.Wants(t, err, im.Unauthenticated)
	for by, found := range map[string][]im.Profile{
		"account": must(db.FindByAccount(ctx, "u-"+u[0])), "e-mail": must(db.FindByEmail(ctx, u[1], email)), "telephone": must(db.FindByPhone(ctx, u[1], phone)),
	} {
		for _, p := range found {
			if p.ID == u[0] {
				t.Errorf("found by %s", by)
			}
		}
	}
	if got, err := db.Sessions(ctx, u[1], 9); err != nil || len(got) != 1 || got[0].ID != kept {
		t.Errorf("sessions of another: %v, %v", got, err)
	}
	// Nothing of them is left in the row.
	if n := pgtest.Count(t, db, `SELECT count(*) FROM users WHERE id = $1 AND concat(account, name, password, email, phone, bio, avatar, email_verified) = ''`, u[0]); n != 1 {
		t.Error("the row still says something of the user")
	}
	pgtest.Wants(t, db.CreateUser(ctx, im.User{ID: im.NewID(), Account: "u-" + u[0], Name: "new"}, "hash"), im.Conflict) // nobody is taken for them
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A device signs in, or gets tokens, while its user is deleted: whoever comes
// first, no session is left that is good.
func TestP6NoSessionOutlivesItsUser(t *testing.T) {
	db := pgtest.Fresh(t)
	for i := range 20 {
		user := pgtest.People(t, db, 1)[0]
		pgtest.SignIn(t, db, user, "a")
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := pgtest.Forget(t, db, user, "hash"); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			s := im.Session{ID: im.NewID(), User: user, Device: "b", Platform: "web", Created: im.Now()}
			if _, err := db.CreateSession(t.Context(), s, "hash", pgtest.Token(s.ID), pgtest.Later(), 9); err != nil && im.KindOf(err) != im.NotFound {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := db.RotateRefresh(t.Context(), pgtest.Token(user+"a"), pgtest.Token(fmt.Sprint(i)), pgtest.Later(), 0); err != nil && im.KindOf(err) != im.Unauthenticated {
				t.Error(err)
			}
		})
		all.Wait()
		if n := pgtest.Count(t, db, `SELECT count(*) FROM sessions WHERE user_id = $1 AND ended IS NULL`, user); n != 0 {
			t.Fatalf("%d sessions outlive their user", n)
		}
		if n := pgtest.Count(t, db, `SELECT count(*) FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE s.user_id = $1`, user); n != 0 {
			t.Fatalf("%d refresh tokens outlive their user", n)
		}
	}
}

func TestErasures(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	var sessions []string
	for i := range 120 {
		sessions = append(sessions, pgtest.SignIn(t, db, u[0], fmt.Sprint(i)))
	}
	kept := pgtest.SignIn(t, db, u[1], "a")
	for _, id := range u {
		for _, q := range []string{
			`INSERT INTO conversation_states (user_id, conversation) SELECT $1, 'g:' || i FROM generate_series(1, 1500) i`,
			`INSERT INTO deleted_messages SELECT $1, 'g:1', gen_random_uuid() FROM generate_series(1, 1500) i`,
		} {
			if _, err := db.Exec(ctx, q, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _, err := pgtest.Forget(t, db, u[0], "hash")
	pgtest.Wants(t, err, "")
	due := func(want ...im.Erasure) {
		t.Helper()
		got, err := db.DueErasures(ctx, 9)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("due %v, %v; want %v", got, err, want)
		}
	}
	first, second := im.Erasure{User: u[0]}, im.Erasure{User: u[0], Again: true}
	due(first)

	pgtest.Wants(t, db.Told(ctx, sessions[:110]), "")
	pgtest.Wants(t, db.EraseUser(ctx, u[0]), "")
	pgtest.Wants(t, db.EraseUser(ctx, u[0]), "")
	for table, want := range map[string]int{"sessions": 10, "conversation_states": 0, "deleted_messages": 0} {
		if n := pgtest.Count(t, db, `SELECT count(*) FROM `+table+` WHERE user_id = $1`, u[0]); n != want {
			t.Errorf("%d rows of %s are left, want %d", n, table, want)
		}
	}
	if n := pgtest.Count(t, db, `SELECT count(*) FROM conversation_states JOIN deleted_messages USING (user_id) WHERE user_id = $1`, u[1]); n != 1500*1500 {
		t.Errorf("of another %d pairs of rows are left", n)
	}
	if got, err := db.Sessions(ctx, u[1], 9); err != nil || len(got) != 1 || got[0].ID != kept {
		t.Errorf("sessions of another: %v, %v", got, err)
	}

	pgtest.Wants(t, db.Erased(ctx, second, time.Hour), "") // not yet
	due(first)
	pgtest.Wants(t, db.Erased(ctx, first, time.Hour), "")
	due()
	pgtest.Wants(t, db.Erased(ctx, first, 0), "") // by another sweep
	due()
	if _, err := db.Exec(ctx, `UPDATE erasures SET due = due - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	due(second)
	pgtest.Wants(t, db.Erased(ctx, second, time.Hour), "")
	due()
	if n := pgtest.Count(t, db, `SELECT count(*) FROM erasures`); n != 0 {
		t.Errorf("%d erasures are left", n)
	}
}
