package conversations_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func stateOf(t *testing.T, db *pgtest.DB, user string, c im.Conversation) im.ConversationState {
	t.Helper()
	states, err := db.ConversationStates(t.Context(), user, []im.Conversation{c})
	if err != nil {
		t.Fatal(err)
	}
	return states[c]
}

func TestAReadMarkNeverGoesBack(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, c := im.NewID(), im.Group(im.NewID())
	ids := make([]string, 5)
	for i := range ids {
		ids[i] = im.NewMessageID(im.Time(1_000_000 * (i + 1)))
	}
	for _, tt := range []struct {
		name         string
		message, now int
		raised       bool
	}{
		{"the first", 2, 2, true},
		{"the same", 2, 2, false},
		{"an earlier one", 0, 2, false},
		{"a later one", 4, 4, true},
		{"and the first again", 2, 4, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mark string
			var raised bool
			pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
				mark, raised, err = tx.MarkRead(ctx, ann, c, ids[tt.message])
				return err
			}), "")
			if mark != ids[tt.now] || raised != tt.raised {
				t.Errorf("mark = %s, %v; want %s, %v", mark, raised, ids[tt.now], tt.raised)
			}
			if got := stateOf(t, db, ann, c).Read; got != mark {
				t.Errorf("%s is kept", got)
			}
		})
	}
	if got := stateOf(t, db, im.NewID(), c); got != (im.ConversationState{}) {
		t.Errorf("another's state is %+v", got)
	}
	pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
		_, _, err := tx.MarkRead(ctx, ann, c, "x")
		return err
	}), im.Invalid)
}

// Devices mark at once: each mark but those that others have overtaken is
// raised once, and the greatest stays.
func TestReadMarksOfManyDevicesAtOnce(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, c := im.NewID(), im.Group(im.NewID())
	const devices, marks = 6, 20
	ids := make([]string, marks)
	for i := range ids {
		ids[i] = im.NewMessageID(im.Time(1_000_000 * (i + 1)))
	}
	var mu sync.Mutex
	raised := make(map[string]int)
	var all sync.WaitGroup
	for range devices {
		all.Go(func() {
			for _, i := range rand.Perm(marks) {
				err := pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
					mark, is, err := tx.MarkRead(ctx, ann, c, ids[i])
					if err == nil && mark < ids[i] {
						t.Errorf("after %s the mark is %s", ids[i], mark)
					}
					if is {
						mu.Lock()
						raised[ids[i]]++
						mu.Unlock()
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := stateOf(t, db, ann, c).Read; got != ids[marks-1] || raised[got] != 1 {
		t.Errorf("the mark is %s, raised %v", got, raised)
	}
	for id, n := range raised {
		if n != 1 {
			t.Errorf("%s was raised %d times", id, n)
		}
	}
}

func TestChangeConversation(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, c := im.NewID(), im.Group(im.NewID())
	yes, no, id, none := true, false, im.NewMessageID(7), ""
	for _, tt := range []struct {
		name    string
		to      im.ConversationChange
		want    im.ConversationState
		changed bool
	}{
		{"nothing", im.ConversationChange{}, im.ConversationState{}, false},
		{"what is so already", im.ConversationChange{Pinned: &no, Muted: &no, Hidden: &none}, im.ConversationState{}, false},
		{"pinned", im.ConversationChange{Pinned: &yes}, im.ConversationState{Pinned: true}, true},
		{"muted", im.ConversationChange{Muted: &yes}, im.ConversationState{Pinned: true, Muted: true}, true},
		{"again", im.ConversationChange{Pinned: &yes, Muted: &yes}, im.ConversationState{Pinned: true, Muted: true}, false},
		{"hidden and not pinned", im.ConversationChange{Pinned: &no, Hidden: &id}, im.ConversationState{Muted: true, Hidden: id}, true},
		{"all taken back", im.ConversationChange{Muted: &no, Hidden: &none}, im.ConversationState{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var now im.ConversationState
			var changed bool
			pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) (err error) {
				now, changed, err = tx.ChangeConversation(ctx, ann, c, tt.to)
				return err
			}), "")
			if now != tt.want || changed != tt.changed {
				t.Errorf("now %+v, %v; want %+v, %v", now, changed, tt.want, tt.changed)
			}
			if got := stateOf(t, db, ann, c); got != tt.want {
				t.Errorf("%+v is kept, want %+v", got, tt.want)
			}
		})
	}

	t.Run("a read mark stays where it is", func(t *testing.T) {
		pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
			if _, _, err := tx.MarkRead(ctx, ann, c, id); err != nil {
				return err
			}
			now, _, err := tx.ChangeConversation(ctx, ann, c, im.ConversationChange{Muted: &yes})
			if now.Read != id {
				t.Errorf("now %+v", now)
			}
			return err
		}), "")
	})
	t.Run("of others nothing is seen, and of what was not asked", func(t *testing.T) {
		got, err := db.ConversationStates(t.Context(), ann, []im.Conversation{im.Group(im.NewID()), c})
		pgtest.Wants(t, err, "")
		if want := map[im.Conversation]im.ConversationState{c: {Read: id, Muted: true}}; !maps.Equal(got, want) {
			t.Errorf("states = %v, want %v", got, want)
		}
	})
}

func TestP7NoMoreArePinnedThanMayBe(t *testing.T) {
	db := pgtest.Fresh(t)
	ann, yes, no := im.NewID(), true, false
	if _, err := db.Exec(t.Context(), `INSERT INTO users (id, account, name, password) VALUES ($1, $1, 'ann', '')`, ann); err != nil {
		t.Fatal(err)
	}
	pin := func(c im.Conversation, to *bool) error {
		return pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
			_, _, err := tx.ChangeConversation(ctx, ann, c, im.ConversationChange{Pinned: to})
			return err
		})
	}
	conversations := make([]im.Conversation, im.MaxPinned+10)
	for i := range conversations {
		conversations[i] = im.Group(fmt.Sprintf("g%015d", i))
	}
	for _, c := range conversations[:im.MaxPinned-1] {
		pgtest.Wants(t, pin(c, &yes), "")
	}
	// One device pins the last that may be while others are about to.
	rest := conversations[im.MaxPinned-1:]
	refused := make(chan error, len(rest)-1)
	pgtest.Wants(t, pgtest.Attempt(t.Context(), db, func(ctx context.Context, tx *pgtest.Tx) error {
		if _, _, err := tx.ChangeConversation(ctx, ann, rest[0], im.ConversationChange{Pinned: &yes}); err != nil {
			return err
		}
		for _, c := range rest[1:4] {
			go func() { refused <- pin(c, &yes) }()
		}
		waiting := 0
		for deadline := time.Now().Add(imtest.Patience(t)); waiting < 3 && len(refused) == 0; {
			if time.Now().After(deadline) {
				return errors.New("nobody waits")
			}
			if err := db.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
				return err
			}
		}
		return nil
	}), "")
	for range 3 {
		pgtest.Wants(t, <-refused, im.Conflict)
	}
	states, err := db.ConversationStates(t.Context(), ann, conversations)
	pgtest.Wants(t, err, "")
	var pinned []im.Conversation
	for c, s := range states {
		if s.Pinned {
			pinned = append(pinned, c)
		}
	}
	if len(pinned) != im.MaxPinned {
		t.Fatalf("%d are pinned", len(pinned))
	}
	pgtest.Wants(t, pin(pinned[0], &yes), "") // which it is
	pgtest.Wants(t, pin(im.Group(im.NewID()), &yes), im.Conflict)
	pgtest.Wants(t, pin(pinned[0], &no), "")
	pgtest.Wants(t, pin(im.Group(im.NewID()), &yes), "")
}
