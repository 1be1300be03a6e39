package users_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// Nobody is taken for a user who was deleted: not by registering, by signing in
// from elsewhere, nor by making a bot.
func TestTheAccountOfADeletedUserIsNobodysForAWhile(t *testing.T) {
	ctx := t.Context()
	url := imtest.Postgres(t)
	for _, tt := range []struct {
		hold string
		free bool // at once
		kept string
	}{
		{"", false, "90 days"}, {"1h", false, "1 hour"}, {"forever", false, ""}, {"0", true, ""},
	} {
		db := pgtest.Migrated(t, map[string]string{"POSTGRES_URL": url, "ACCOUNT_HOLD": tt.hold})
		owner := pgtest.People(t, db, 1)[0]
		gone := im.User{ID: im.NewID(), Account: "gone" + im.NewID()[:8], Name: "Gone"}
		pgtest.Wants(t, db.CreateUser(ctx, gone, "hash"), "")
		if _, _, err := pgtest.Forget(t, db, gone.ID, "hash"); err != nil {
			t.Fatal(err)
		}
		take := func(want im.Kind) {
			t.Helper()
			again := gone
			again.ID = im.NewID()
			pgtest.Wants(t, db.CreateUser(ctx, again, "hash"), want)
			if want == "" {
				return
			}
			pgtest.Wants(t, db.CreateUserOf(ctx, again, im.Claim{Provider: "p", Issuer: "i", Subject: again.ID, Email: again.ID + "@example.org"}), want)
			b := im.Bot{ID: again.ID, Account: again.Account, Name: "B", Created: im.Now()}
			pgtest.Wants(t, db.CreateBot(ctx, owner, b, im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "first", Scopes: []im.Scope{im.MessagesRead}, Created: im.Now()}, []byte(b.ID), 9), want)
			if _, _, err := db.UserByAccount(ctx, again.Account); !errors.Is(err, im.NotFound) {
				t.Errorf("hold %q: half of it was done: %v", tt.hold, err)
			}
		}
		if tt.free {
			take("")
			continue
		}
		take(im.Conflict)
		if tt.kept == "" {
			continue
		}
		if _, err := db.Exec(ctx, `UPDATE former_accounts SET until = until - $1::text::interval`, tt.kept); err != nil {
			t.Fatal(err)
		}
		take("")
		other := im.User{ID: im.NewID(), Account: "other-" + im.NewID()[:8], Name: "Other"}
		pgtest.Wants(t, db.CreateUser(ctx, other, "hash"), "")
		if _, _, err := pgtest.Forget(t, db, other.ID, "hash"); err != nil {
			t.Fatal(err)
		}
		var over int
		if err := db.QueryRow(ctx, `SELECT count(*) FROM former_accounts WHERE until <= now()`).Scan(&over); err != nil || over != 0 {
			t.Errorf("hold %q: %d are kept for longer, %v", tt.hold, over, err)
		}
	}
	// The owner of a bot may give its account to another of theirs.
	db := pgtest.Migrated(t, map[string]string{"POSTGRES_URL": url})
	u := pgtest.People(t, db, 2)
	for i, owner := range []string{u[0], u[0], u[1]} {
		b := im.Bot{ID: im.NewID(), Account: "echo-bot", Name: "E", Created: im.Now()}
		err := db.CreateBot(ctx, owner, b, im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "first", Scopes: []im.Scope{im.MessagesRead}, Created: im.Now()}, []byte(b.ID), 9)
		if i == 2 {
			pgtest.Wants(t, err, im.Conflict)
			break
		}
		pgtest.Wants(t, err, "")
		if err := pgtest.Attempt(ctx, db, func(ctx context.Context, tx *pgtest.Tx) error {
			_, _, err := tx.ForgetBot(ctx, owner, b.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := postgres.Open(ctx, imtest.Env(t, map[string]string{"POSTGRES_URL": url, "ACCOUNT_HOLD": "soon"})); err == nil {
		t.Error("a hold that is none is taken")
	}
}

// Who registers while the user is being deleted waits for it, and comes too late.
func TestNobodyTakesAnAccountWhileItsUserIsBeingDeleted(t *testing.T) {
	db := pgtest.Fresh(t)
	for range 20 {
		gone := im.User{ID: im.NewID(), Account: "g-" + im.NewID(), Name: "Gone"}
		pgtest.Wants(t, db.CreateUser(t.Context(), gone, "hash"), "")
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := pgtest.Forget(t, db, gone.ID, "hash"); err != nil {
				t.Error(err)
			}
		})
		for range 3 {
			all.Go(func() {
				again := gone
				again.ID = im.NewID()
				if err := db.CreateUser(t.Context(), again, "hash"); im.KindOf(err) != im.Conflict {
					t.Errorf("it was taken: %v", err)
				}
			})
		}
		all.Wait()
	}
}

// A code that was mailed and is good is mailed again; another address, an end or
// its own age make a new one.
func TestACodeIsMailedAgainWhileItIsGood(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	n := byte(0)
	put := func(purpose, email string) string {
		t.Helper()
		n++
		kept, err := db.PutCode(ctx, user, purpose, email, []byte{n}, string('a'+rune(n)), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	change := func(set string) {
		t.Helper()
		if _, err := db.Exec(ctx, `UPDATE email_codes SET `+set); err != nil {
			t.Fatal(err)
		}
	}
	first := put(im.MailReset, "a@b.c")
	for what, set := range map[string]string{"at once": `attempts = 0`, "of which others tried many": `attempts = 400`, "for the last time": `created = now() - interval '44 minutes'`} {
		change(set)
		if again := put(im.MailReset, "a@b.c"); again != first {
			t.Errorf("%s: another is mailed", what)
		}
	}
	for what, set := range map[string]string{
		"too old": `created = now() - interval '46 minutes'`, "over": `expires = now()`, "of an older version": `sealed = NULL`,
	} {
		change(set)
		if again := put(im.MailReset, "a@b.c"); again == first {
			t.Errorf("%s: the same is mailed again", what)
		} else {
			first = again
		}
	}
	mine := put(im.MailVerify, "a@b.c")
	change(`attempts = 5`) // they tried too often
	if put(im.MailVerify, "a@b.c") == mine {
		t.Error("a code that was tried too often is mailed again")
	}
	if put(im.MailReset, "d@e.f") == first || put(im.MailVerify, "d@e.f") == first {
		t.Error("a code is mailed to another address, or for another purpose")
	}
}

// An avatar of which nobody has seen whose site it is on is kept, and shown to
// nobody.
func TestAnAvatarIsShownOnceItWasLookedAt(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 1)[0]
	shown := func(want string) {
		t.Helper()
		if p, err := db.Profile(ctx, u); err != nil || p.Avatar != want {
			t.Errorf("others see %q, %v; want %q", p.Avatar, err, want)
		}
		if s, err := db.Self(ctx, u); err != nil || s.Avatar != want {
			t.Errorf("they see %q, %v; want %q", s.Avatar, err, want)
		}
	}
	if _, err := db.Exec(ctx, `UPDATE users SET avatar = 'https://tracker.example/a.png'`); err != nil { // by an older version
		t.Fatal(err)
	}
	shown("")
	trusted := "https://pictures.example/a.png"
	if _, err := db.UpdateUser(ctx, u, im.UserChange{Avatar: &trusted}); err != nil {
		t.Fatal(err)
	}
	shown(trusted)
	pgtest.Wants(t, db.AddAvatar(ctx, "avatars/a", u), "")
	if _, err := db.SetAvatar(ctx, "avatars/a", "https://store.example/avatars/a", u); err != nil {
		t.Fatal(err)
	}
	shown("https://store.example/avatars/a")
}
