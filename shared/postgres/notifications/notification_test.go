package notifications_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

// subscribe makes a subscription of a session whose endpoint is its name.
func subscribe(t testing.TB, db *pgtest.DB, user, session, endpoint string) {
	t.Helper()
	err := db.PutSubscription(t.Context(), im.PushSubscription{User: user, Session: session, Endpoint: endpoint, P256dh: []byte("k"), Auth: []byte("a")}, 3)
	if err != nil {
		t.Fatal(err)
	}
}

// subscribers returns the sessions that have a subscription, in order.
func subscribers(t testing.TB, db *pgtest.DB) (sessions string) {
	t.Helper()
	err := db.QueryRow(t.Context(), `SELECT coalesce(string_agg(session_id, ' ' ORDER BY session_id), '') FROM push_subscriptions`).Scan(&sessions)
	if err != nil {
		t.Fatal(err)
	}
	return sessions
}

func inOrder(all ...string) string {
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestSubscriptions(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 2)
	var s []string
	for i := range 4 {
		s = append(s, pgtest.SignIn(t, db, u[0], fmt.Sprint(i)))
	}
	other := pgtest.SignIn(t, db, u[1], "a")
	has := func(when string, sessions ...string) {
		t.Helper()
		if got := subscribers(t, db); got != inOrder(sessions...) {
			t.Errorf("%s, %q are subscribed, want %q", when, got, inOrder(sessions...))
		}
	}
	for i := range 3 {
		subscribe(t, db, u[0], s[i], s[i])
		subscribe(t, db, u[0], s[i], s[i]) // again
	}
	has("each once", s[0], s[1], s[2])
	subscribe(t, db, u[0], s[3], s[3])
	has("the oldest makes room", s[1], s[2], s[3])
	subscribe(t, db, u[1], other, s[1])
	has("the browser is another's", s[2], s[3], other)
	subscribe(t, db, u[0], s[2], "anew")
	has("with another endpoint", s[2], s[3], other)
	if n := pgtest.Count(t, db, `SELECT count(*) FROM push_subscriptions WHERE endpoint = 'anew'`); n != 1 {
		t.Error("the endpoint is not the new one")
	}

	pgtest.Wants(t, db.RemoveSubscription(t.Context(), s[2], "old"), "")
	has("of an endpoint that it has no more", s[2], s[3], other)
	pgtest.Wants(t, db.RemoveSubscription(t.Context(), s[2], "anew"), "")
	pgtest.Wants(t, db.RemoveSubscription(t.Context(), other, ""), "")
	pgtest.Wants(t, db.RemoveSubscription(t.Context(), other, ""), "")
	has("removed", s[3])

	for name, sub := range map[string]im.PushSubscription{
		"a session of another": {User: u[1], Session: s[3], Endpoint: "x"},
		"no session":           {User: u[0], Session: im.NewID(), Endpoint: "x"},
	} {
		sub.P256dh, sub.Auth = []byte("k"), []byte("a")
		if err := db.PutSubscription(t.Context(), sub, 3); im.KindOf(err) != im.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However a session ends, its subscription goes with it.
func TestNoSubscriptionOutlivesItsSession(t *testing.T) {
	db := pgtest.Fresh(t)
	for name, end := range map[string]func(user, session string) error{
		"it is revoked": func(user, session string) error { return db.EndSession(t.Context(), user, session) },
		"its device signs in again": func(user, _ string) error {
			s := im.Session{ID: im.NewID(), User: user, Device: "phone", Platform: "web", Created: im.Now()}
			return pgtest.Second(db.CreateSession(t.Context(), s, "hash", pgtest.Token(s.ID), pgtest.Later(), 9))
		},
		"the password is changed": func(user, _ string) error {
			s := im.Session{ID: im.NewID(), User: user, Device: "phone", Platform: "web", Created: im.Now()}
			return pgtest.Second(db.ChangePassword(t.Context(), s, "hash", "new", pgtest.Token(s.ID), pgtest.Later(), im.Revocation{}))
		},
		"a refresh token was stolen": func(user, _ string) error {
			if _, err := db.RotateRefresh(t.Context(), pgtest.Token(user+"phone"), pgtest.Token(user+"2"), pgtest.Later(), 0); err != nil {
				return err
			}
			_, err := db.RotateRefresh(t.Context(), pgtest.Token(user+"phone"), pgtest.Token(user+"3"), pgtest.Later(), 0)
			if im.KindOf(err) != im.Denied {
				return fmt.Errorf("error %v", err)
			}
			return nil
		},
		"the user is deleted": func(user, _ string) error {
			_, _, err := pgtest.Forget(t, db, user, "hash")
			return err
		},
		"it has expired": func(user, session string) error {
			if _, err := db.Exec(t.Context(), `UPDATE refresh_tokens SET expires = now() - interval '1 second' WHERE session_id = $1`, session); err != nil {
				return err
			}
			return pgtest.Second(db.SweepTokens(t.Context(), 100))
		},
	} {
		user := pgtest.People(t, db, 1)[0]
		s := pgtest.SignIn(t, db, user, "phone")
		subscribe(t, db, user, s, s)
		if err := end(user, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := subscribers(t, db); got != "" {
			t.Errorf("%s: the subscription is there", name)
		}
	}
}

func TestNobodySubscribesASessionThatIsEnding(t *testing.T) {
	db := pgtest.Fresh(t)
	for i := range 30 {
		user := pgtest.People(t, db, 1)[0]
		s := pgtest.SignIn(t, db, user, "phone")
		var all sync.WaitGroup
		all.Go(func() { pgtest.Wants(t, db.EndSession(t.Context(), user, s), "") })
		all.Go(func() {
			err := db.PutSubscription(t.Context(), im.PushSubscription{User: user, Session: s, Endpoint: s, P256dh: []byte("k"), Auth: []byte("a")}, 3)
			if err != nil && im.KindOf(err) != im.Unauthenticated {
				t.Error(err)
			}
		})
		all.Wait()
		if got := subscribers(t, db); got != "" {
			t.Fatalf("round %d: a subscription outlives its session", i)
		}
	}
}

var timing = im.NotifyTiming{After: time.Minute, Every: time.Hour, TTL: 24 * time.Hour}

func TestAbsences(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	u := pgtest.People(t, db, 3) // the recipient, the sender, somebody blocked
	c, muted := im.Group(im.NewID()), im.Group(im.NewID())
	phone, desk, gone := pgtest.SignIn(t, db, u[0], "phone"), pgtest.SignIn(t, db, u[0], "desk"), pgtest.SignIn(t, db, u[0], "gone")
	subscribe(t, db, u[0], phone, phone)
	pgtest.Wants(t, db.EndSession(ctx, u[0], gone), "")
	for _, q := range []string{
		`INSERT INTO blocks (user_id, blocked_id) VALUES ('` + u[0] + `', '` + u[2] + `')`,
		`INSERT INTO conversation_states (user_id, conversation, muted) VALUES ('` + u[0] + `', '` + string(muted) + `', true), ('` + u[0] + `', '` + string(c) + `', false)`,
		`INSERT INTO sessions (id, user_id, device, platform, created) VALUES ('` + im.NewID() + `', '` + u[0] + `', 'token', 'bot', now())`,
	} {
		if _, err := db.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	arrival := func(c im.Conversation, from string) im.Arrival {
		return im.Arrival{User: u[0], Conversation: c, From: from, Message: im.NewMessageID(im.Now())}
	}
	is := func(when string, a im.Arrival, all bool, want ...string) {
		t.Helper()
		got, err := db.Absences(ctx, []im.Arrival{{User: im.NewID(), Conversation: c, From: u[1], Message: a.Message}, a}, all)
		if err != nil {
			t.Fatal(err)
		}
		var sessions []string
		for _, g := range got {
			if g.User != a.User || g.Conversation != a.Conversation || g.Message != a.Message {
				t.Errorf("%s: %+v", when, g)
			}
			sessions = append(sessions, g.Session)
		}
		if inOrder(sessions...) != inOrder(want...) {
			t.Errorf("%s: %q, want %q", when, sessions, want)
		}
	}
	is("those that have subscribed", arrival(c, u[1]), false, phone)
	is("all that are signed in", arrival(c, u[1]), true, phone, desk)
	is("in a muted conversation", arrival(muted, u[1]), true)
	is("from somebody who is blocked", arrival(c, u[2]), true)

	a := im.Absence{User: u[0], Session: phone, Conversation: c, Message: im.NewMessageID(im.Now())}
	if _, err := db.NoteNotifications(ctx, []im.Absence{a}, im.NotifyTiming{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	is("where one is due already", arrival(c, u[1]), true, desk)
	is("where one is due of another conversation", arrival(im.Group(im.NewID()), u[1]), false, phone)
	taken, err := db.TakeNotifications(ctx, 10, time.Minute)
	if err != nil || len(taken) != 1 {
		t.Fatalf("taken %v, %v", taken, err)
	}
	is("where one is being sent", arrival(c, u[1]), false, phone)
	if _, err := db.NoteNotifications(ctx, []im.Absence{a}, timing); err != nil {
		t.Fatal(err)
	}
	is("where another follows that", arrival(c, u[1]), false)
	pgtest.Wants(t, db.DropNotifications(ctx, taken, timing), "")
	is("where that one is due", arrival(c, u[1]), false)
}

func TestNotificationsAreTakenOnce(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	s := pgtest.SignIn(t, db, user, "phone")
	var all []im.Absence
	for range 200 {
		all = append(all, im.Absence{User: user, Session: s, Conversation: im.Group(im.NewID()), Message: im.NewMessageID(im.Now())})
	}
	// Those who note the same in different orders do not wait for each other.
	var noting sync.WaitGroup
	for range 4 {
		mine := slices.Clone(all)
		noting.Go(func() {
			slices.Reverse(mine)
			for range 5 {
				if _, err := db.NoteNotifications(ctx, mine, im.NotifyTiming{TTL: time.Hour}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	noting.Wait()
	var mu sync.Mutex
	seen := make(map[im.Conversation]int)
	var taking sync.WaitGroup
	for range 4 {
		taking.Go(func() {
			for {
				got, err := db.TakeNotifications(ctx, 7, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, n := range got {
					seen[n.Conversation]++
				}
				mu.Unlock()
				if err := db.SentNotifications(ctx, got, timing); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taking.Wait()
	for _, a := range all {
		if seen[a.Conversation] != 1 {
			t.Fatalf("one was taken %d times", seen[a.Conversation])
		}
	}
	if n, err := db.SweepNotifications(ctx, time.Hour, 1000); err != nil || n != 0 {
		t.Errorf("swept %d, %v", n, err)
	}
	if n, err := db.SweepNotifications(ctx, 0, 150); err != nil || n != 150 {
		t.Errorf("swept %d, %v", n, err)
	}
}

func TestANotificationIsWhatIsKnownWhenItIsTaken(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	user := pgtest.People(t, db, 1)[0]
	s := pgtest.SignIn(t, db, user, "phone")
	a := im.Absence{User: user, Session: s, Conversation: im.Group(im.NewID()), Message: im.NewMessageID(im.Now())}
	take := func() im.Notification {
		t.Helper()
		if _, err := db.Exec(ctx, `UPDATE notifications SET due = now()`); err != nil {
			t.Fatal(err)
		}
		got, err := db.TakeNotifications(ctx, 10, time.Minute)
		if err != nil || len(got) != 1 {
			t.Fatalf("taken %v, %v", got, err)
		}
		return got[0]
	}
	if in, some, err := db.NextNotification(ctx); err != nil || some {
		t.Errorf("next in %s, %v", in, err)
	}
	first, err := db.NoteNotifications(ctx, []im.Absence{a}, timing)
	if err != nil || first > time.Minute || first < 50*time.Second {
		t.Errorf("due in %s, %v", first, err)
	}
	if again, err := db.NoteNotifications(ctx, []im.Absence{a}, timing); err != nil || again >= 0 {
		t.Errorf("due again in %s, %v", again, err)
	}
	if in, some, err := db.NextNotification(ctx); err != nil || !some || in > time.Minute || in < 50*time.Second {
		t.Errorf("next in %s, %v", in, err)
	}
	if by, err := db.OverdueNotification(ctx); err != nil || by != 0 {
		t.Errorf("before it is due it is overdue by %s, %v", by, err)
	}
	if _, err := db.Exec(ctx, `UPDATE notifications SET due = now() - interval '7 minutes'`); err != nil {
		t.Fatal(err)
	}
	if by, err := db.OverdueNotification(ctx); err != nil || by < 7*time.Minute || by > 8*time.Minute {
		t.Errorf("it is overdue by %s, %v", by, err)
	}
	n := take()
	if n.Push != nil || n.Ended || n.Muted || n.Read != "" || n.Device != "phone" || n.Platform != "web" || n.Attempt != 1 || n.Message != a.Message ||
		n.User != user || n.Session != s || n.Conversation != a.Conversation {
		t.Errorf("%+v", n)
	}
	n.Wait = time.Hour
	pgtest.Wants(t, db.PostponeNotifications(ctx, []im.Notification{n}), "")
	if in, _, err := db.NextNotification(ctx); err != nil || in < 59*time.Minute {
		t.Errorf("after it was postponed it is due in %s, %v", in, err)
	}

	subscribe(t, db, user, s, "e")
	removed, err := db.SubscriptionsFailed(ctx, []string{s}, 3, 0)
	if err != nil || removed != 0 {
		t.Errorf("removed %d, %v", removed, err)
	}
	read := im.NewMessageID(im.Now())
	_, err = db.Exec(ctx, `INSERT INTO conversation_states (user_id, conversation, muted, read_id) VALUES ($1, $2, true, $3)`, user, a.Conversation, read)
	if err != nil {
		t.Fatal(err)
	}
	n = take()
	if n.Push == nil || n.Push.Endpoint != "e" || n.Push.Failures != 1 || n.Push.Failing == 0 || !n.Muted || n.Read != read || n.Attempt != 2 {
		t.Errorf("%+v, %+v", n, n.Push)
	}
	n.Wait = 48 * time.Hour
	pgtest.Wants(t, db.PostponeNotifications(ctx, []im.Notification{n}), "")
	if in, _, err := db.NextNotification(ctx); err != nil || in > 24*time.Hour {
		t.Errorf("it waits for longer than it is of use: %s, %v", in, err)
	}

	pgtest.Wants(t, db.SubscriptionsAnswered(ctx, []string{s}), "")
	if n = take(); n.Push.Failures != 0 || n.Push.Failing != 0 {
		t.Errorf("%+v", n.Push)
	}
	for i, want := range []int{0, 0, 1} {
		if removed, err := db.SubscriptionsFailed(ctx, []string{s}, 3, 0); err != nil || removed != want {
			t.Errorf("failure %d removes %d, %v", i+1, removed, err)
		}
	}
	pgtest.Wants(t, db.EndSession(ctx, user, s), "")
	if n = take(); !n.Ended || n.Push != nil {
		t.Errorf("%+v", n)
	}
	pgtest.Wants(t, db.DropNotifications(ctx, []im.Notification{n}, timing), "")
	if n := pgtest.Count(t, db, `SELECT count(*) FROM notifications`); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestBylines(t *testing.T) {
	db := pgtest.Fresh(t)
	u := pgtest.People(t, db, 3)
	group := im.NewID()
	for _, q := range []string{
		`INSERT INTO groups (id, name, owner_id, created) VALUES ('` + group + `', 'Climbers', '` + u[1] + `', now())`,
		`INSERT INTO blocks (user_id, blocked_id) VALUES ('` + u[0] + `', '` + u[2] + `')`,
	} {
		if _, err := db.Exec(context.Background(), q); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.Bylines(t.Context(), []im.Arrival{
		{User: u[0], From: u[1], Conversation: im.Group(group)},
		{User: u[0], From: u[2], Conversation: im.Direct(u[0], u[2])},
		{User: u[2], From: u[0], Conversation: im.Direct(u[0], u[2])},
		{User: u[0], From: im.NewID(), Conversation: im.Group(im.NewID())},
	})
	want := []im.Byline{{Name: "User 1", Group: "Climbers"}, {Name: "User 2", Blocked: true}, {Name: "User 0"}, {}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
