package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
)

func TestHistoryIsTheSameWhereverItIs(t *testing.T) {
	w := newWorld(t)
	w.seed(150)
	w.holds(50)
	w.run()
	if n := w.count(`SELECT count(*) FROM archives WHERE archived IS NOT NULL AND rows > 0`); n != 3 {
		t.Errorf("%d months are archived, want 3", n)
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE time < now() - interval '13 months'`); n != 0 {
		t.Errorf("%d messages of them are in the database still", n)
	}
	if n := w.count(`SELECT count(*) FROM messages`); n != 2*150*3 {
		t.Errorf("%d messages are in the database, want %d", n, 2*150*3)
	}
	w.holds(1, 7, 50, 200)
	w.run() // there is nothing to do
	w.holds(50)
}

func TestPartitionsAreMadeAheadWithoutAnObjectStore(t *testing.T) {
	w := newWorld(t)
	w.seed(3)
	w.exec(`DROP TABLE ` + month(time.Now(), 12).Source)
	w.say(said(busy, month(time.Now(), 12).Starts.Std().Add(time.Hour), "in a year"), said(busy, time.Now().Add(5*year), "in five"))
	m := w.mover()
	m.objects, m.read, m.after = nil, nil, 0
	for range 2 {
		if err := m.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		have, err := w.db.Partitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range ahead {
			if !slices.Contains(have, month(time.Now(), n)) {
				t.Errorf("there is no partition of %s", month(time.Now(), n).Source)
			}
		}
		if !slices.Contains(have, month(ago(17), 0)) {
			t.Error("there is no partition of an earlier month of which there are messages")
		}
		if n := w.count(`SELECT count(*) FROM messages_default`); n != 1 {
			t.Errorf("%d messages are in the default partition, want the one of a far future", n)
		}
		w.holds(50)
	}
}

// killed is what a step of a process that was killed ends with.
var killed = im.Errorf(im.Unavailable, "killed")

// A fate kills a process at one of its steps: before what it does there, or
// after it, when nobody hears what became of it.
type fate struct {
	at    int
	after bool
	step  int
	steps []string
}

func (f *fate) meets(name string, do func() error) error {
	f.step++
	f.steps = append(f.steps, name)
	switch {
	case f.step < f.at:
		return do()
	case f.step == f.at && f.after:
		do()
	}
	return killed
}

// mortal is the store and the objects of a process that may be killed.
type mortalStore struct {
	store
	*fate
}

type mortalCold struct {
	cold
	*fate
}

func (m mortalStore) MoveLate(ctx context.Context) (n int64, err error) {
	err = m.meets("move late", func() error { n, err = m.store.MoveLate(ctx); return err })
	return n, err
}

func (m mortalStore) MakePartition(ctx context.Context, span im.Span) (n int64, err error) {
	err = m.meets("make a partition", func() error { n, err = m.store.MakePartition(ctx, span); return err })
	return n, err
}

func (m mortalStore) Detach(ctx context.Context, span im.Span) error {
	return m.meets("detach", func() error { return m.store.Detach(ctx, span) })
}

func (m mortalStore) ReadSource(ctx context.Context, span im.Span, after im.Key, most, bytes int) (got []im.Message, err error) {
	err = m.meets("read", func() error { got, err = m.store.ReadSource(ctx, span, after, most, bytes); return err })
	return got, err
}

func (m mortalStore) AddPart(ctx context.Context, part im.Part, recalled []im.Message) error {
	return m.meets("note", func() error { return m.store.AddPart(ctx, part, recalled) })
}

func (m mortalStore) Drop(ctx context.Context, span im.Span) error {
	return m.meets("drop", func() error { return m.store.Drop(ctx, span) })
}

func (m mortalStore) Seen(ctx context.Context, messages []im.Message, archived func(im.Message) bool) error {
	return m.meets("see", func() error { return m.store.Seen(ctx, messages, archived) })
}

func (m mortalCold) Write(ctx context.Context, span im.Time, number int, messages []im.Message) (part im.Part, err error) {
	err = m.meets("write", func() error { part, err = m.cold.Write(ctx, span, number, messages); return err })
	return part, err
}

func (m mortalCold) Verify(ctx context.Context, part im.Part) error {
	return m.meets("verify", func() error { return m.cold.Verify(ctx, part) })
}

func (m mortalCold) Delete(ctx context.Context, key string) error {
	return m.meets("delete", func() error { return m.cold.Delete(ctx, key) })
}

// Each of some processes is killed at another step while it archives a month,
// before what it does there or right after it. Meanwhile all that was said in that
// month comes again, some of it is recalled, and more comes late. The next
// process goes on.
func TestP2KilledAtAnyStepNothingIsLostOrDoubled(t *testing.T) {
	w := newWorld(t)
	w.run()
	kills := map[string]int{}
	for months, at := 20, 1; ; at++ {
		done := false
		for _, after := range []bool{false, true} {
			months++
			var fresh []im.Message
			for i := range 30 {
				fresh = append(fresh, said(conversations[i%3], ago(months).Add(time.Duration(i)*8*time.Hour), fmt.Sprint(months, " months ago, ", i)))
			}
			w.say(fresh...)
			f := &fate{at: at, after: after}
			m := w.mover()
			m.store, m.objects, m.rows = mortalStore{w.db, f}, mortalCold{w.cold, f}, 12
			err := m.run(t.Context())
			if done = err == nil && f.step < at; !done {
				kills[f.steps[at-1]]++
			}
			w.holdsMonth(months)
			w.recall(len(w.want) - 1 - at%20)
			if err := w.db.AppendHistory(t.Context(), fresh); err != nil {
				t.Fatal(err)
			}
			w.say(said(team, ago(months).Add(time.Duration(at)*time.Minute), "late"))
			w.holdsMonth(months)
			w.run()
			w.recall(len(w.want) - 2 - at%20)
			w.holdsMonth(months)
			if n := w.count(`SELECT count(*) FROM archive_late WHERE NOT missing`); n != 0 {
				t.Fatalf("%d repeats are still there", n)
			}
		}
		if done {
			break
		}
	}
	for _, step := range []string{"move late", "make a partition", "detach", "read", "write", "verify", "note", "drop"} {
		if kills[step] < 2 {
			t.Errorf("only %d processes were killed at the step %q", kills[step], step)
		}
	}
	w.holds(20)
	if n := w.count(`SELECT (SELECT sum(rows) FROM archive_parts)::int + (SELECT count(*) FROM archive_late)::int`); n != len(w.want) {
		t.Errorf("%d messages are archived, want %d", n, len(w.want))
	}
	if n := w.count(`SELECT count(*) FROM archives WHERE source IS NOT NULL`); n != 0 {
		t.Errorf("%d months are not archived", n)
	}
	w.onlyKnownObjects()
}

// recall recalls the n-th message, wherever it is, as message-recall does.
func (w *world) recall(n int) {
	w.t.Helper()
	m := &w.want[n%len(w.want)]
	if m.Recalled {
		return
	}
	now := *m
	now.Text, now.Recalled, now.Revision = "", true, m.Revision+1
	_, _, err := w.db.Change(w.t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, ok, err := tx.LockMessage(ctx, m.Conversation, m.ID)
		if err != nil {
			return err
		}
		if !ok {
			found, err := w.reader().find(ctx, m.Conversation, []string{m.ID})
			if err != nil || len(found) != 1 {
				return fmt.Errorf("%d messages are found, %w", len(found), err)
			}
			if _, err := tx.LockArchived(ctx, found[0]); err != nil {
				return err
			}
		}
		return tx.AmendMessage(ctx, now)
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	*m = now
}

// onlyKnownObjects fails the test if there is an object that no catalog has.
func (w *world) onlyKnownObjects() {
	w.t.Helper()
	for months := range 120 {
		span := month(ago(months), 0).Starts
		there, err := w.cold.List(w.t.Context(), span)
		if err != nil {
			w.t.Fatal(err)
		}
		known, err := w.db.PartKeys(w.t.Context(), span)
		if err != nil {
			w.t.Fatal(err)
		}
		slices.Sort(there)
		slices.Sort(known)
		if !slices.Equal(there, known) {
			w.t.Errorf("there are objects %q, and known are %q", there, known)
		}
	}
}

func TestTwoRunsAtOnceDoNothingTwice(t *testing.T) {
	w := newWorld(t)
	w.seed(100)
	done := make(chan error)
	for range 3 {
		go func() { done <- w.mover().run(t.Context()) }()
	}
	for range 3 {
		if err := <-done; err != nil && im.KindOf(err) != im.Unavailable && im.KindOf(err) != im.NotFound {
			t.Error(err)
		}
	}
	w.holds(50)
	w.run()
	w.holds(50)
	w.onlyKnownObjects()
	if n := w.count(`SELECT coalesce(sum(rows), 0)::int FROM archive_parts`); n != 100*(2*2+3) {
		t.Errorf("%d messages are in parts, want %d", n, 100*7)
	}
}

func TestRecalledMessagesStayEmpty(t *testing.T) {
	w := newWorld(t)
	w.seed(20)
	before := 0
	for w.want[before].Time > im.TimeOf(ago(13)) {
		before++
	}
	after := before + 1
	w.recall(before) // in history
	w.run()
	w.recall(after) // in the archive
	w.holds(7)
	// What comes again is not what it was.
	again := []im.Message{w.want[before], w.want[after]}
	for i := range again {
		again[i].Text, again[i].Recalled, again[i].Revision = "as it was", false, 0
	}
	if err := w.db.AppendHistory(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.holds(7)
	var keys []im.EntryKey
	for _, m := range again {
		keys = append(keys, im.EntryKey{ID: m.ID, Conversation: m.Conversation})
	}
	changed, err := w.db.ChangedMessages(t.Context(), keys)
	if err != nil || len(changed) != 2 || !changed[keys[0]].Recalled || !changed[keys[1]].Recalled || changed[keys[1]].From != ann {
		t.Errorf("they became %+v, %v", changed, err)
	}
	w.run()
	w.holds(7)
	if n := w.count(`SELECT count(*) FROM archive_late`); n != 0 {
		t.Errorf("%d repeats are still there", n)
	}
	// And so a notice that comes again changes nothing, and one that was not seen does.
	if err := w.db.AmendHistory(t.Context(), []im.Message{w.want[before], w.want[after]}); err != nil {
		t.Fatal(err)
	}
	edited := w.want[after+1]
	edited.Text, edited.Revision, edited.Edited = "edited", 1, im.Now()
	if err := w.db.AmendHistory(t.Context(), []im.Message{edited}); err != nil {
		t.Fatal(err)
	}
	w.want[after+1] = edited
	w.holds(7)
}

func TestWhatUsersDeletedForThemselvesStaysDeleted(t *testing.T) {
	w := newWorld(t)
	w.seed(60)
	w.run()
	var deleted []string
	for i, m := range w.want {
		if m.Conversation == busy && (i%3 == 0 || m.Time > im.TimeOf(ago(16)) && m.Time < im.TimeOf(ago(13))) {
			deleted = append(deleted, m.ID)
		}
	}
	_, _, err := w.db.Change(t.Context(), func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.DeleteMessages(ctx, ann, busy, deleted)
		return err
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, backwards := range []bool{true, false} {
		got := w.all(busy, ann, backwards, 10)
		if len(got) != len(w.all(busy, bob, backwards, 10))-len(deleted) {
			t.Errorf("%d are left", len(got))
		}
		for _, m := range got {
			if slices.Contains(deleted, m.ID) {
				t.Errorf("%s is read by who has deleted it", m.ID)
			}
		}
	}
	w.holds(50)
}

func TestFindFindsWhatIsArchived(t *testing.T) {
	w := newWorld(t)
	w.seed(60)
	m := w.mover()
	for range 2 { // of one month half is in objects, then all of each
		f := &fate{at: 13}
		m.store, m.objects = mortalStore{w.db, f}, mortalCold{w.cold, f}
		m.run(t.Context())
		w.finds()
		w.run()
	}
	w.finds()
}

func (w *world) finds() {
	w.t.Helper()
	var ids []string
	want := 0
	in := map[bool]int{}
	for i, m := range w.want {
		if m.Conversation != busy || i%2 == 1 {
			continue
		}
		is, err := w.db.Archived(w.t.Context(), m.Time)
		if err != nil {
			w.t.Fatal(err)
		}
		if in[is]++; is {
			want++
		}
		ids = append(ids, m.ID)
	}
	ids = append(ids, im.NewMessageID(im.TimeOf(ago(17))), im.NewMessageID(1), "x")
	got := 0
	for part := range slices.Chunk(ids, event.MaxArchiveIDs) {
		found, err := w.reader().find(w.t.Context(), busy, part)
		if err != nil {
			w.t.Fatal(err)
		}
		got += len(found)
	}
	if got != want || want == 0 || in[false] == 0 {
		w.t.Errorf("%d messages are found, want %d", got, want)
	}
}

func TestSealedAsksOnly(t *testing.T) {
	w := newWorld(t)
	r := w.reader()
	for name, ask := range map[string]event.ArchiveAsk{
		"no conversation":  {Limit: 1},
		"no limit":         {Conversation: busy},
		"a limit too high": {Conversation: busy, Limit: maxRead + 1},
		"a limit too low":  {Conversation: busy, Limit: -1},
	} {
		if _, err := r.one(t.Context(), ask); im.KindOf(err) != im.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.one(t.Context(), event.ArchiveAsk{Conversation: busy, IDs: make([]string, event.MaxArchiveIDs+1)}); im.KindOf(err) != im.TooLarge {
		t.Errorf("too many ids: %v", err)
	}
}

func TestTheAgeOfWhatIsArchivedHasALimit(t *testing.T) {
	for _, tt := range []struct {
		after, url string
		ok         bool
	}{
		{"", "", true},
		{"0", "", true},
		{"0", "http://k:s@h/b", true},
		{"8760h", "http://k:s@h/b", true},
		{"744h", "http://k:s@h/b", true},
		{"743h", "http://k:s@h/b", false},
		{"8760h", "", false},
		{"a year", "http://k:s@h/b", false},
	} {
		env := imtest.Env(t, map[string]string{"POSTGRES_URL": "postgres://127.0.0.1:1/d", "ARCHIVE_AFTER": tt.after, "ARCHIVE_URL": tt.url,
			"SEAL_KEYS": "k:eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg="})
		if _, err := fn.Mount(t.Context(), env, Move, Read); (err == nil) != tt.ok {
			t.Errorf("after %q at %q: %v", tt.after, tt.url, err)
		}
	}
}

// While objects cannot be written the database keeps what it has.
func TestNothingLeavesHistoryForAStoreThatIsDown(t *testing.T) {
	w := newWorld(t)
	w.seed(10)
	down := errors.New("down")
	m := w.mover()
	m.objects = downCold{w.cold, down}
	if err := m.run(t.Context()); !errors.Is(err, down) {
		t.Errorf("error = %v", err)
	}
	if n := w.count(`SELECT count(*) FROM archives`); n != 0 {
		t.Errorf("%d months left history", n)
	}
	w.holds(50)
	behind := testutil.ToFloat64(m.metrics.behind)
	if behind <= 0 {
		t.Errorf("it is behind by %g s", behind)
	}
	m.objects = w.cold
	if err := m.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if behind := testutil.ToFloat64(m.metrics.behind); behind != 0 {
		t.Errorf("when all is archived it is behind by %g s", behind)
	}
}

type downCold struct {
	cold
	err error
}

func (d downCold) Check(context.Context) error { return d.err }

// Who adds a column to history decides what becomes of it in the archive.
func TestAllOfAMessageIsArchived(t *testing.T) {
	w := newWorld(t)
	if n := w.count(`
		SELECT count(*) FROM pg_attribute WHERE attrelid = 'messages'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
		AND attname <> ALL ('{conversation,time,id,sender,client_id,kind,text,reply_to,data,revision,edited,recalled}')`); n != 0 {
		t.Errorf("%d columns of messages are not archived", n)
	}
}
