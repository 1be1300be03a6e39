package archive

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/coldstore"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/imtest/steps"
	"github.com/tidings-im/tidings/shared/proc"
)

const dieMoving = "ARCHIVE_TEST_MOVES"

// TestAProcessThatMoves is what the next test kills, and nothing otherwise.
func TestAProcessThatMoves(t *testing.T) {
	if os.Getenv(dieMoving) == "" {
		return
	}
	env := proc.NewEnv(os.Getenv, slog.New(slog.DiscardHandler))
	defer env.Close()
	m, err := openMover(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := runs(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// runs runs m as a clock does that calls it again: who writes meanwhile may be
// waited for too long, and connections break.
func runs(ctx context.Context, m *mover) (err error) {
	for range 10 {
		if err = m.run(ctx); im.KindOf(err) != im.Unavailable {
			break
		}
	}
	return err
}

func openMover(ctx context.Context, env *proc.Env) (*mover, error) {
	db, err := pgtest.Open(ctx, env)
	if err != nil {
		return nil, err
	}
	objects, err := coldstore.Open(ctx, env)
	return &mover{store: db, objects: objects, read: &reader{store: db, objects: objects, may: coldstore.May},
		after: year, log: env.Log, metrics: newMetrics(), rows: 40}, err
}

// A process that archives a month is killed by SIGKILL at each of its
// statements and each of its requests to the object store that change anything: amid a request, and
// after it, when it is done and the process does not know. While it runs, messages of that month come, come again, are edited and recalled, and one
// of those who wrote them is erased. Right then, and when the next process has
// gone on, everybody reads all of them, once and in order.
func TestP2KilledBySIGKILLAtEveryStatementAndRequestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	watch := steps.New(t, readOnly...)
	env := []string{dieMoving + "=1", "POSTGRES_URL=" + watch.Postgres(w.vars["POSTGRES_URL"]), "ARCHIVE_URL=" + watch.HTTP(w.vars["ARCHIVE_URL"])}
	w.survives(steps.Amid, []string{"PUT"}, func(at int) string { return watch.Run("TestAProcessThatMoves", env, at, steps.Amid) })
	w.survives(steps.After, everyStep, func(at int) string { return watch.Run("TestAProcessThatMoves", env, at, steps.After) })
	w.complete()
}

// The same, but the process lives on: it is hung up on, and cannot know whether
// what it wanted was done.
func TestP2CutOffAfterEveryStatementAndRequestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	watch := steps.New(t, readOnly...)
	env := imtest.Env(t, map[string]string{"POSTGRES_URL": watch.Postgres(w.vars["POSTGRES_URL"]), "ARCHIVE_URL": watch.HTTP(w.vars["ARCHIVE_URL"])})
	m, err := openMover(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	m.log = slog.New(slog.DiscardHandler)
	w.survives(steps.After, []string{"commit", "PUT"}, func(at int) string {
		cut, err := watch.Cut(at, func() error { return runs(t.Context(), m) })
		if err != nil {
			t.Errorf("cut off after step %d, %s: %v", at, cut, err)
		}
		return cut
	})
	w.complete()
}

// everyStep is what a process that archives does at least once, and readOnly
// what it does besides, which changes nothing.
var (
	everyStep = []string{"begin", "commit", "LOCK", "CREATE", "ALTER", "INSERT", "PUT", "UPDATE", "DROP"}
	readOnly  = []string{"SELECT", "SET", "GET", "HEAD"}
)

// survives archives a month after the other by processes that end at another
// step each, and fails the test if a message is not read as it should be right
// then, or when the next process has gone on. end returns at which step that was,
// "" if the process has done all there was to do.
func (w *world) survives(when steps.When, most []string, end func(at int) string) {
	w.t.Helper()
	ends := map[string]int{}
	for at := 1; ; at++ {
		w.months++
		months := 20 + w.months
		var fresh []im.Message
		for i := range 60 {
			fresh = append(fresh, said(conversations[i%3], ago(months).Add(time.Duration(i)*4*time.Hour), fmt.Sprint(months, " months ago, ", i)))
		}
		w.say(fresh...)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			w.meddle(stop, months, fresh)
		}()
		at := end(at)
		close(stop)
		<-stopped
		w.holdsMonth(months)
		w.run()
		w.holdsMonth(months)
		if n := w.count(`SELECT count(*) FROM archive_late WHERE NOT missing`); n != 0 {
			w.t.Errorf("%d repeats are still there", n)
		}
		if w.t.Failed() {
			w.t.Fatalf("ended %s %q", when, at)
		}
		if at == "" {
			break
		}
		ends[strings.Fields(at)[0]]++
	}
	w.t.Logf("ended %s %v", when, ends)
	for _, step := range most {
		if ends[step] == 0 {
			w.t.Errorf("no process has ended %s %s", when, step)
		}
	}
}

// complete fails the test unless everything is archived, once.
func (w *world) complete() {
	w.t.Helper()
	w.holds(50)
	w.onlyKnownObjects()
	if n := w.count(`SELECT (SELECT sum(rows) FROM archive_parts)::int + (SELECT count(*) FROM archive_late)::int`); n != len(w.want) {
		w.t.Errorf("%d messages are archived, want %d", n, len(w.want))
	}
}

// meddle writes, edits, recalls and erases what is of a month, and reads it,
// until stop is closed.
func (w *world) meddle(stop chan struct{}, months int, fresh []im.Message) {
	gone := im.User{ID: im.NewID(), Account: "u" + im.NewID()[:10], Name: "Gone"}
	if err := w.db.CreateUser(w.t.Context(), gone, "hash"); err != nil {
		w.t.Error(err)
		return
	}
	from := len(w.want) - len(fresh) // what is before is of other months
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		what := n % 8
		if n > 24 && (what < 2 || what == 4) {
			what = 7 // it would never be done with what comes late
		}
		switch what {
		case 0, 4:
			m := said(conversations[rand.N(3)], ago(months).Add(time.Duration(n)*17*time.Minute+time.Second), fmt.Sprint("said while it is archived, ", n))
			m.From = gone.ID
			if w.append(m) {
				w.want = append(w.want, m)
			}
		case 1:
			w.append(fresh...)
		case 2, 5:
			w.amend(from+rand.N(len(w.want)-from), "")
		case 3, 6:
			w.amend(from+rand.N(len(w.want)-from), fmt.Sprint("edited, ", n))
		case 7:
			w.holdsMonth(months)
		}
		if n == 9 {
			w.erase(gone.ID, months)
		}
	}
}

// append adds messages to history as persist-history does, which is given them
// again as long as that may succeed.
func (w *world) append(messages ...im.Message) bool {
	for try := 1; ; try++ {
		err := w.db.AppendHistory(w.t.Context(), messages)
		if im.KindOf(err) != im.Unavailable || try == 10 {
			if err != nil {
				w.t.Error(err)
			}
			return err == nil
		}
	}
}

// amend edits the n-th message, or with a text of "" recalls it, as
// message-edit and message-recall do. It tries again what may be.
func (w *world) amend(n int, text string) {
	w.t.Helper()
	now := w.want[n]
	if now.Recalled {
		return
	}
	now.Text, now.Revision = text, now.Revision+1
	if now.Recalled = text == ""; !now.Recalled {
		now.Edited = im.Now()
	}
	for try := 1; ; try++ {
		_, _, err := w.db.Change(w.t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
			was, ok, err := tx.LockMessage(ctx, now.Conversation, now.ID)
			if err != nil {
				return err
			}
			if !ok {
				found, err := w.reader().one(ctx, event.ArchiveAsk{Conversation: now.Conversation, IDs: []string{now.ID}})
				if err != nil {
					return err
				}
				if len(found.Messages) != 1 {
					return fmt.Errorf("%d messages are %s", len(found.Messages), now.ID)
				}
				if was, err = tx.LockArchived(ctx, found.Messages[0]); err != nil {
					return err
				}
			}
			if !reflect.DeepEqual(was, w.want[n]) {
				return fmt.Errorf("it is %+v, want %+v", was, w.want[n])
			}
			return tx.AmendMessage(ctx, now)
		}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
		if err == nil {
			w.want[n] = now
			return
		}
		if im.KindOf(err) != im.Unavailable || try == 5 {
			w.t.Error(err)
			return
		}
	}
}

// erase erases a user, who has deleted messages of a month for themselves.
func (w *world) erase(user string, months int) {
	w.t.Helper()
	span := month(ago(months), 0)
	none := func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil }
	_, _, err := w.db.Change(w.t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		var ids []string
		for _, m := range w.said(busy, span.Starts, span.Ends) {
			ids = append(ids, m.ID)
		}
		_, err := tx.DeleteMessages(ctx, user, busy, ids)
		return err
	}, none)
	if err != nil {
		w.t.Error(err)
	}
	if got := w.page(busy, user, im.Place{Time: span.Starts}, false, 1).Messages; len(got) > 0 && got[0].Time < span.Ends {
		w.t.Errorf("%s is read by who has deleted it", got[0].ID)
	}
	_, _, err = w.db.Change(w.t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, was, err := tx.ForgetUser(ctx, user, "hash")
		if err == nil && !was {
			err = fmt.Errorf("%s was not there", user)
		}
		return err
	}, none)
	if err != nil {
		w.t.Error(err)
	}
	if err := w.db.EraseUser(w.t.Context(), user); err != nil {
		w.t.Error(err)
	}
}
