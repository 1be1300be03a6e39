package archive

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/coldstore"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/postgres"
)

const (
	ann  = "aaaaaaaaaaaaaaaa"
	bob  = "bbbbbbbbbbbbbbbb"
	year = 365 * 24 * time.Hour
)

// A world is a real database and a real object store.
type world struct {
	t    testing.TB
	vars map[string]string
	db   *pgtest.DB
	cold *coldstore.Store
	want []im.Message // all there is, as it is now

	months int // that were archived by who did not come to an end
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, vars: map[string]string{"POSTGRES_URL": imtest.Migrated(t, postgres.Migrate), "ARCHIVE_URL": imtest.S3(t)}}
	env := imtest.Env(t, w.vars)
	var err error
	if w.db, err = pgtest.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if w.cold, err = coldstore.Open(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) reader() *reader { return &reader{store: w.db, objects: w.cold, may: coldstore.May} }

func (w *world) mover() *mover {
	return &mover{store: w.db, objects: w.cold, read: w.reader(), after: year, log: slog.New(slog.DiscardHandler), metrics: newMetrics(), rows: 100}
}

func (w *world) run() {
	w.t.Helper()
	if err := w.mover().run(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.vars["POSTGRES_URL"])
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) count(sql string) (n int) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.vars["POSTGRES_URL"])
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(w.t.Context(), sql).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// say adds messages to history as persist-history does.
func (w *world) say(messages ...im.Message) {
	w.t.Helper()
	if err := w.db.AppendHistory(w.t.Context(), messages); err != nil {
		w.t.Fatal(err)
	}
	w.want = append(w.want, messages...)
}

func said(c im.Conversation, at time.Time, text string) im.Message {
	t := im.TimeOf(at)
	return im.Message{ID: im.NewMessageID(t), Conversation: c, Time: t, From: ann, ClientID: "c", Kind: im.KindText, Text: text}
}

// ago returns a time in the n-th month before this one.
func ago(n int) time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()-time.Month(n), 3, 4, 5, 6, 7000, time.UTC)
}

// seed says something in several conversations, in months that will be archived
// and in months that will not.
func (w *world) seed(each int) {
	w.t.Helper()
	var all []im.Message
	for _, c := range conversations {
		for _, months := range []int{0, 1, 11, 14, 15, 17} {
			if c == quiet && months != 17 {
				continue
			}
			for i := range each {
				m := said(c, ago(months).Add(time.Duration(i)*time.Hour/2), fmt.Sprintf("%d months ago, %d", months, i))
				if i%10 == 0 && i > 0 {
					m.ReplyTo = all[len(all)-1].ID
				}
				all = append(all, m)
			}
		}
	}
	w.say(all...)
}

var (
	busy          = im.Direct(ann, bob)
	team          = im.Group("teamteamteamteam")
	quiet         = im.Group("aquietaquietaqui") // of the first month only
	conversations = []im.Conversation{busy, team, quiet}
)

// page reads a page as message-history does.
func (w *world) page(c im.Conversation, user string, from im.Place, backwards bool, limit int) event.ArchiveAnswer {
	w.t.Helper()
	messages, rest, err := w.db.History(w.t.Context(), c, user, from, backwards, limit)
	if err != nil {
		w.t.Fatal(err)
	}
	page := event.ArchiveAnswer{Messages: messages, Ended: len(messages) < limit && !rest.Full}
	if rest.Archived {
		old, err := w.reader().one(w.t.Context(), event.ArchiveAsk{Conversation: c, User: user, From: from, Backwards: backwards, Limit: limit})
		if err != nil {
			w.t.Fatal(err)
		}
		page = archive.Merge(old, page, backwards, limit)
	}
	if len(page.Messages) == 0 && !page.Ended {
		w.t.Fatal("a page is empty, and has not ended")
	}
	return page
}

var last = im.Place{Time: im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}

// all reads a conversation from one end to the other.
func (w *world) all(c im.Conversation, user string, backwards bool, limit int) []im.Message {
	w.t.Helper()
	var all []im.Message
	from := im.Place{}
	if backwards {
		from = last
	}
	for {
		p := w.page(c, user, from, backwards, limit)
		all = append(all, p.Messages...)
		if p.Ended {
			break
		}
		from = all[len(all)-1].Place()
	}
	if backwards {
		slices.Reverse(all)
	}
	return all
}

// holds fails the test unless each conversation is what was said in it, by
// pages of any size and either way.
func (w *world) holds(limits ...int) {
	w.t.Helper()
	for _, c := range conversations {
		want := w.said(c, 0, last.Time)
		for _, limit := range limits {
			for _, backwards := range []bool{true, false} {
				got := w.all(c, "nobody", backwards, limit)
				if !reflect.DeepEqual(got, want) {
					w.t.Fatalf("%s by %d, backwards %v: %d messages, want %d; %s", c, limit, backwards, len(got), len(want), differ(got, want))
				}
			}
		}
	}
}

// holdsMonth fails the test unless each conversation is what was said in it in
// a month.
func (w *world) holdsMonth(months int) {
	w.t.Helper()
	span := month(ago(months), 0)
	for _, c := range conversations {
		want := w.said(c, span.Starts, span.Ends)
		got := w.page(c, "nobody", im.Place{Time: span.Starts}, false, len(want)).Messages
		back := w.page(c, "nobody", im.Place{Time: span.Ends}, true, len(want)).Messages
		slices.Reverse(back)
		for _, got := range [][]im.Message{got, back} {
			if !reflect.DeepEqual(got, want) {
				w.t.Fatalf("%s: %d messages, want %d; %s", c, len(got), len(want), differ(got, want))
			}
		}
	}
}

// said returns what was said in a conversation from one time to another.
func (w *world) said(c im.Conversation, from, to im.Time) []im.Message {
	var out []im.Message
	for _, m := range w.want {
		if m.Conversation == c && m.Time >= from && m.Time < to {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b im.Message) int {
		if a.Place().Less(b.Place()) {
			return -1
		}
		return 1
	})
	return out
}

func differ(got, want []im.Message) string {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("the %d-th is\n%+v\nwant\n%+v", i, got[i], want[i])
		}
	}
	return "the rest is missing"
}
