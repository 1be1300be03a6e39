package notices_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

// placed gives notices ids and places, of times that grow from one of them on.
func placed(from im.Time) func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) {
	return func(_ context.Context, _ []im.Stale, notices []im.Notice) ([]im.Pending, error) {
		var pending []im.Pending
		for i, n := range notices {
			at := from + im.Time(i)
			pending = append(pending, im.Pending{ID: fmt.Sprint("n", at), Notice: n, Place: im.Place{Time: at, ID: im.NewMessageID(at)}})
		}
		return pending, nil
	}
}

func TestNoticesWaitInTheOutbox(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	notices := []im.Notice{
		{Conversation: "g:x", From: "ann", Type: im.GroupUpdated, Data: json.RawMessage(`{"z":"\u003c\u0000","a":[1,2]}`)},
		{Conversation: "d:ann:bob", From: "ann", Type: im.FriendUpdated, Data: json.RawMessage(`{}`), To: []string{"ann"}, Quiet: true,
			Amended: []im.Message{{ID: "m", Text: "é", Revision: 3}}},
	}
	change := func(from im.Time) []im.Pending {
		t.Helper()
		_, pending, err := db.Change(ctx, func(_ context.Context, tx *pgtest.Tx) error { tx.Notify(notices...); return nil }, placed(from))
		pgtest.Wants(t, err, "")
		return pending
	}
	late, early := change(3000), change(1000) // in the order of their times, not of their coming
	waits := func(age time.Duration, limit int) []im.Pending {
		t.Helper()
		pending, broken, err := db.Pending(ctx, age, im.Pending{}, limit)
		pgtest.Wants(t, err, "")
		if len(broken) > 0 {
			t.Errorf("broken: %v", broken)
		}
		return pending
	}
	same := func(got, want []im.Pending) {
		t.Helper()
		a, err1 := json.Marshal(got)
		b, err2 := json.Marshal(want)
		if err1 != nil || err2 != nil || string(a) != string(b) {
			t.Errorf("waiting are %s\nwant %s", a, b)
		}
	}
	same(waits(0, 10), slices.Concat(early, late))
	same(waits(0, 3), slices.Concat(early, late[:1]))
	same(waits(time.Minute, 10), nil)
	all := slices.Concat(early, late)
	for i, p := range all {
		rest, _, err := db.Pending(ctx, 0, p, 10)
		pgtest.Wants(t, err, "")
		same(rest, append([]im.Pending(nil), all[i+1:]...))
	}

	pgtest.Wants(t, db.Published(ctx, []string{early[0].ID, "none"}), "")
	pgtest.Wants(t, db.SetAside(ctx, late[0].ID, errors.New("why \x00 \xff")), "")
	same(waits(0, 10), []im.Pending{early[1], late[1]})

	_, err := db.Exec(ctx, `UPDATE outbox SET notice = '{"to":7}' WHERE id = $1`, early[1].ID)
	pgtest.Wants(t, postgres.Failed(err, "spoiling"), "")
	pending, broken, err := db.Pending(ctx, 0, im.Pending{}, 10)
	pgtest.Wants(t, err, "")
	if len(broken) != 1 || broken[early[1].ID] == nil {
		t.Errorf("broken: %v", broken)
	}
	same(pending, late[1:])
}

func TestAChangeIsMadeWithItsNoticesOrNotAtAll(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	broken := errors.New("broken")
	prepare := placed(1000)
	for _, tt := range []struct {
		name    string
		f       error
		prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error)
		want    im.Kind
	}{
		{"the change fails", im.Errorf(im.Denied, "no"), prepare, im.Denied},
		{"nothing is prepared", nil, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) {
			return nil, im.Errorf(im.Unavailable, "down")
		}, im.Unavailable},
		{"an error of no kind", broken, prepare, im.Internal},
		{"a place that is none", nil, func(_ context.Context, _ []im.Stale, n []im.Notice) ([]im.Pending, error) {
			return []im.Pending{{ID: "x", Notice: n[0], Place: im.Place{ID: "none"}}}, nil
		}, im.Invalid},
		{"all goes well", nil, prepare, ""},
	} {
		user := im.NewID()
		_, _, err := db.Change(ctx, func(ctx context.Context, tx *pgtest.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO users (id, account, name, password) VALUES ($1, $1, 'n', '')`, user)
			tx.Notify(im.Notice{Type: im.FriendDeleted, Data: json.RawMessage(`{}`)})
			return errors.Join(err, tt.f)
		}, tt.prepare)
		if tt.want == "" && err != nil || tt.want != "" && im.KindOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
		var users, waiting int
		if err := db.QueryRow(ctx, `SELECT (SELECT count(*) FROM users WHERE id = $1), (SELECT count(*) FROM outbox)`, user).Scan(&users, &waiting); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1}[tt.want == ""]; users != want || waiting != want {
			t.Errorf("%s: %d users, %d notices", tt.name, users, waiting)
		}
	}
}
