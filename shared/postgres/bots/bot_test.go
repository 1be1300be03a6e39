package bots_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

// aBot makes a bot of an owner, with a token that is named like its account.
func aBot(t testing.TB, db *pgtest.DB, owner, account string) (im.Bot, im.BotToken) {
	t.Helper()
	b := im.Bot{ID: im.NewID(), Account: account, Name: "A bot", Created: im.Now()}
	k := im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "first", Scopes: []im.Scope{im.MessagesRead, im.MessagesWrite}, Created: b.Created}
	if err := db.CreateBot(t.Context(), owner, b, k, pgtest.Token(account), 3); err != nil {
		t.Fatal(err)
	}
	return b, k
}

func forgetBot(t testing.TB, db *pgtest.DB, owner, bot string) (sessions []string, was bool, err error) {
	t.Helper()
	err = pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
		sessions, was, err = tx.ForgetBot(ctx, owner, bot)
		return err
	})
	return sessions, was, err
}

func TestBotsAreUsersOfAnOwner(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	b, k := aBot(t, db, u[0], "echo")

	if p, err := db.Profile(ctx, b.ID); err != nil || !p.Bot || p.Account != "echo" {
		t.Errorf("profile %+v, %v", p, err)
	}
	if p, err := db.Profile(ctx, u[0]); err != nil || p.Bot {
		t.Errorf("a person is %+v, %v", p, err)
	}
	if got, err := db.Bots(ctx, u[0]); err != nil || !slices.Equal(got, []im.Bot{b}) {
		t.Errorf("bots %+v, %v; want %+v", got, err, b)
	}
	if got, err := db.Bots(ctx, u[1]); err != nil || len(got) != 0 {
		t.Errorf("bots of another: %+v, %v", got, err)
	}
	if _, _, err := db.UserByAccount(ctx, "echo"); im.KindOf(err) != im.NotFound {
		t.Errorf("a bot signs in as people do: %v", err)
	}

	make := func(owner, account string) error {
		n := im.Bot{ID: im.NewID(), Account: account, Name: "N", Created: im.Now()}
		return db.CreateBot(ctx, owner, n, im.BotToken{ID: im.NewID(), Bot: n.ID, Name: "n", Scopes: k.Scopes, Created: n.Created}, pgtest.Token(n.ID), 3)
	}
	pgtest.Wants(t, make(u[1], "echo"), im.Conflict)
	pgtest.Wants(t, make(u[1], "u-"+u[0]), im.Conflict)
	pgtest.Wants(t, make(b.ID, "botsbot"), im.Denied)
	pgtest.Wants(t, make(im.NewID(), "nobodys"), im.NotFound)
	pgtest.Wants(t, make(u[0], "second"), "")
	pgtest.Wants(t, make(u[0], "third"), "")
	pgtest.Wants(t, make(u[0], "fourth"), im.Denied)

	name, bio := "Echo", "says it again"
	if got, err := db.UpdateBot(ctx, u[0], b.ID, im.BotChange{Bio: &bio}); err != nil || got.Bio != bio || got.Name != b.Name {
		t.Errorf("changed %+v, %v", got, err)
	}
	if got, err := db.UpdateBot(ctx, u[0], b.ID, im.BotChange{Name: &name}); err != nil || got.Bio != bio || got.Name != name {
		t.Errorf("changed %+v, %v", got, err)
	}
	_, err := db.UpdateBot(ctx, u[1], b.ID, im.BotChange{Name: &name})
	pgtest.Wants(t, err, im.NotFound)
	_, err = db.UpdateBot(ctx, u[0], u[0], im.BotChange{Name: &name})
	pgtest.Wants(t, err, im.NotFound)
}

func TestOwnersWhoMakeBotsAtOnceHaveNoMoreThanTheyMay(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 1)[0]
	var making sync.WaitGroup
	for range 8 {
		making.Go(func() {
			n := im.Bot{ID: im.NewID(), Account: "bot-" + im.NewID(), Name: "N", Created: im.Now()}
			err := db.CreateBot(t.Context(), u, n, im.BotToken{ID: im.NewID(), Bot: n.ID, Name: "n", Scopes: []im.Scope{im.MessagesRead}, Created: n.Created}, pgtest.Token(n.ID), 3)
			if err != nil && im.KindOf(err) != im.Denied {
				t.Error(err)
			}
		})
	}
	making.Wait()
	if got, err := db.Bots(t.Context(), u); err != nil || len(got) != 3 {
		t.Errorf("%d bots, %v", len(got), err)
	}
}

func TestTokensOfBots(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	b, first := aBot(t, db, u[0], "echo")
	other, _ := aBot(t, db, u[0], "other")
	add := func(owner, bot, name string, expires im.Time) (im.BotToken, error) {
		k := im.BotToken{ID: im.NewID(), Bot: bot, Name: name, Scopes: []im.Scope{im.GroupsRead}, Created: im.Now(), Expires: expires}
		return k, db.CreateBotToken(ctx, owner, k, pgtest.Token(name), 3)
	}
	lasting := im.TimeOf(time.Now().Add(time.Hour))
	second, err := add(u[0], b.ID, "second", lasting)
	pgtest.Wants(t, err, "")
	over, err := add(u[0], b.ID, "over", im.TimeOf(time.Now().Add(-time.Second)))
	pgtest.Wants(t, err, "")
	_, err = add(u[0], b.ID, "fourth", 0)
	pgtest.Wants(t, err, im.Denied)
	_, err = add(u[1], b.ID, "another's", 0)
	pgtest.Wants(t, err, im.NotFound)
	_, err = add(u[0], u[0], "a person's", 0)
	pgtest.Wants(t, err, im.NotFound)

	p, k, err := db.BotByToken(ctx, pgtest.Token("second"))
	if err != nil || p.ID != b.ID || !p.Bot || k.ID != second.ID || k.Bot != b.ID || !slices.Equal(k.Scopes, second.Scopes) || k.Expires != lasting {
		t.Errorf("%+v, %+v, %v", p, k, err)
	}
	for _, name := range []string{"over", "none"} {
		_, _, err := db.BotByToken(ctx, pgtest.Token(name))
		pgtest.Wants(t, err, im.Unauthenticated)
	}
	got, err := db.BotTokens(ctx, u[0], b.ID)
	if err != nil || len(got) != 2 || got[0].ID != first.ID || got[0].Used != 0 || got[1].ID != second.ID || got[1].Used == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = db.BotTokens(ctx, u[1], b.ID)
	pgtest.Wants(t, err, im.NotFound)

	pgtest.Wants(t, db.DeleteBotToken(ctx, u[1], b.ID, second.ID), im.NotFound)
	pgtest.Wants(t, db.DeleteBotToken(ctx, u[0], other.ID, second.ID), im.NotFound)
	pgtest.Wants(t, db.DeleteBotToken(ctx, u[0], b.ID, second.ID), "")
	pgtest.Wants(t, db.DeleteBotToken(ctx, u[0], b.ID, second.ID), "")
	_, _, err = db.BotByToken(ctx, pgtest.Token("second"))
	pgtest.Wants(t, err, im.Unauthenticated)

	if n, err := db.EndExpiredTokens(ctx, 10); n != 1 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	if n, err := db.EndExpiredTokens(ctx, 10); n != 0 || err != nil {
		t.Errorf("%d expired once more, %v", n, err)
	}
	untold, err := db.Untold(ctx, 0, 10)
	if err != nil || len(untold) != 2 || !slices.ContainsFunc(untold, func(s im.Session) bool { return s.ID == over.ID && s.User == b.ID }) {
		t.Errorf("untold are %+v, %v", untold, err)
	}
	for _, k := range []string{first.ID} {
		pgtest.Wants(t, db.DeleteBotToken(ctx, u[0], b.ID, k), "")
	}
	if got, err := db.BotTokens(ctx, u[0], b.ID); err != nil || len(got) != 0 {
		t.Errorf("a bot without tokens has %+v, %v", got, err)
	}
}

func TestBotsAreForgottenByTheirOwners(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	b, k := aBot(t, db, u[0], "echo")
	w := aHook(t, db, u[0], b.ID, "")

	_, _, err := forgetBot(t, db, u[1], b.ID)
	pgtest.Wants(t, err, im.NotFound)
	_, _, err = forgetBot(t, db, u[0], u[0])
	pgtest.Wants(t, err, im.NotFound)
	_, _, err = forgetBot(t, db, "", b.ID)
	pgtest.Wants(t, err, im.NotFound) // it has an owner

	sessions, was, err := forgetBot(t, db, u[0], b.ID)
	if err != nil || !was || !slices.Equal(sessions, []string{k.ID}) {
		t.Errorf("%v, %v, %v", sessions, was, err)
	}
	if sessions, was, err := forgetBot(t, db, u[0], b.ID); err != nil || was || len(sessions) != 0 {
		t.Errorf("again: %v, %v, %v", sessions, was, err)
	}
	_, _, err = db.BotByToken(ctx, pgtest.Token("echo"))
	pgtest.Wants(t, err, im.Unauthenticated)
	pgtest.Wants(t, db.DeleteWebhook(ctx, u[0], w.ID), im.NotFound)
	if p, err := db.Profile(ctx, b.ID); err != nil || p != (im.Profile{ID: b.ID, Deleted: true}) {
		t.Errorf("profile %+v, %v", p, err)
	}
	if due, err := db.DueErasures(ctx, 10); err != nil || len(due) != 1 || due[0].User != b.ID {
		t.Errorf("erasures %+v, %v", due, err)
	}
	pgtest.Wants(t, db.CreateUser(ctx, im.User{ID: im.NewID(), Account: "echo", Name: "E"}, "hash"), im.Conflict) // nobody is taken for it
}

func TestBotsOfADeletedOwnerAreOrphans(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 2)
	b, k := aBot(t, db, u[0], "echo")
	aBot(t, db, u[1], "kept")
	aHook(t, db, u[0], b.ID, "")
	if bots, err := db.OrphanedBots(ctx, 10); err != nil || len(bots) != 0 {
		t.Errorf("orphans %v, %v", bots, err)
	}

	sessions, _, err := pgtest.Forget(t, db, u[0], "hash")
	if err != nil || !slices.Equal(sessions, []string{k.ID}) {
		t.Errorf("sessions %v, %v", sessions, err)
	}
	_, _, err = db.BotByToken(ctx, pgtest.Token("echo"))
	pgtest.Wants(t, err, im.Unauthenticated)
	pgtest.Wants(t, db.CreateBotToken(ctx, u[0], im.BotToken{ID: im.NewID(), Bot: b.ID, Name: "n", Scopes: k.Scopes, Created: im.Now()}, pgtest.Token("n"), 9), im.NotFound)
	if hooks, err := db.WebhooksOf(ctx, []string{b.ID}); err != nil || len(hooks) != 0 {
		t.Errorf("webhooks %v, %v", hooks, err)
	}
	if bots, err := db.OrphanedBots(ctx, 10); err != nil || !slices.Equal(bots, []string{b.ID}) {
		t.Errorf("orphans %v, %v", bots, err)
	}
	if _, was, err := forgetBot(t, db, "", b.ID); !was || err != nil {
		t.Errorf("%v, %v", was, err)
	}
	if bots, err := db.OrphanedBots(ctx, 10); err != nil || len(bots) != 0 {
		t.Errorf("orphans %v, %v", bots, err)
	}
	if _, _, err := db.BotByToken(ctx, pgtest.Token("kept")); err != nil {
		t.Errorf("the bot of another: %v", err)
	}
}

// A block of somebody covers their bots: in both directions, and for caches too.
func TestP6ABlockCoversBots(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 2)
	ann, eve := u[0], u[1]
	b, _ := aBot(t, db, eve, "eves-bot")
	is := func() im.Relation {
		t.Helper()
		pair := im.PairOf(ann, b.ID)
		got, err := db.Relations(t.Context(), []im.Pair{pair})
		if err != nil {
			t.Fatal(err)
		}
		return got[pair]
	}
	if r := is(); r.Blocked || !r.Exist {
		t.Fatalf("before: %+v", r)
	}
	stale := pgtest.BlockUser(t, db, ann, eve)
	if r := is(); !r.Blocked || !slices.Contains(stale, im.Stale{Pair: im.PairOf(ann, b.ID), Version: r.Version}) {
		t.Errorf("blocked: %+v, stale are %v", r, stale)
	}
	pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		s, err := tx.PairState(ctx, b.ID, ann)
		if err == nil && !s.BlockedBy {
			t.Errorf("the bot stands to ann: %+v", s)
		}
		return err
	})
	if seen, err := db.SeenBy(t.Context(), b.ID, []string{ann}); err != nil || len(seen) > 0 {
		t.Errorf("the bot sees whether %v are online, %v", seen, err)
	}
	// Whom her own bot writes to is her business.
	mine, _ := aBot(t, db, ann, "anns-bot")
	pair := im.PairOf(eve, mine.ID)
	if got, err := db.Relations(t.Context(), []im.Pair{pair}); err != nil || got[pair].Blocked {
		t.Errorf("between eve and ann's bot: %+v, %v", got[pair], err)
	}
	stale = pgtest.Revise(t, db, func(ctx context.Context, tx *pgtest.Tx) error {
		if _, err := tx.LockPair(ctx, ann, eve); err != nil {
			return err
		}
		return tx.Unblock(ctx, ann, eve)
	})
	if r := is(); r.Blocked || !slices.Contains(stale, im.Stale{Pair: im.PairOf(ann, b.ID), Version: r.Version}) {
		t.Errorf("unblocked: %+v, stale are %v", r, stale)
	}
}
