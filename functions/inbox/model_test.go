package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// The model runs the real code over a store, hints and a publisher in memory,
// whose every step is taken when a seeded scheduler says so. Several workers
// have overlapping batches of the same messages; they crash between any two
// steps, requests outlive those who sent them, hints get lost or are too low,
// and what was not done comes again, cut into other batches. Notices amend
// messages that have been done, or precede them in their batch, and come again
// in any order. Some messages are old: they may come after what amends them,
// and are changed while they are on their way. While this goes on, and after it,
// the promises are checked.

var (
	modelSeed      = flag.Uint64("inbox.seed", 0, "replay this one schedule of the inbox model, and tell it")
	modelSchedules = flag.Int("inbox.schedules", 750, "schedules of the inbox model for each kind of store")
)

func TestP2P3ModelOfTheInbox(t *testing.T) {
	for name, kind := range storeKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *modelSeed != 0 {
				err := simulate(*modelSeed, kind, t.Logf)
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := explore(kind, *modelSchedules); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTheModelFindsWhatIsBroken holds the model to its purpose: each of these
// breaks a promise, and has to be found.
func TestTheModelFindsWhatIsBroken(t *testing.T) {
	for name, broken := range map[string]storeKind{
		"an insert that goes on after a failure":             {insert: insertUnordered},
		"a store that takes a message twice":                 {insert: insertPrefix, doubles: true},
		"a store that takes a seq twice":                     {insert: insertPrefix, sharesSeqs: true},
		"hints that are raised before the insert":            {insert: insertPrefix, early: true},
		"hints raised before an insert that may be undone":   {insert: insertAtomic, early: true},
		"a publisher that acknowledges what it has not kept": {insert: insertAtomic, forgets: true},
		"a store that amends whatever the revision is":       {insert: insertAtomic, overwrites: true},
		"a store that says it has amended what it has not":   {insert: insertAtomic, neglects: true},
		"a history that does not know what became of it":     {insert: insertAtomic, ignorant: true},
		"a history that tells what was so a while ago":       {insert: insertAtomic, behind: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := explore(broken, 20_000)
			if err == nil {
				t.Fatal("the model has found nothing wrong")
			}
			t.Log(err)
		})
	}
}

var storeKinds = map[string]storeKind{
	"entries become visible one by one, as in MongoDB":       {insert: insertPrefix},
	"an insert is all or nothing, as in PostgreSQL":          {insert: insertAtomic},
	"inserts of one row":                                     {insert: insertPrefix, rows: 1},
	"all or nothing, in inserts smaller than a user's share": {insert: insertAtomic, rows: 2},
}

// A storeKind is how a store and what is around it behaves.
type storeKind struct {
	insert func(*world, *operation)
	rows   int // most in one insert; 0 is drawn

	// Ways to be broken.
	doubles    bool // (user, message) is not unique
	sharesSeqs bool // (user, seq) is not unique
	early      bool // hints are raised first
	forgets    bool // what is published may be lost
	overwrites bool // an amendment of a lesser revision replaces one of a greater
	neglects   bool // an amendment may be left undone
	ignorant   bool // history says that nothing was changed
	behind     bool // history is told of a change after its notice is out
}

// explore simulates schedules and returns what is wrong in the first that shows anything.
func explore(kind storeKind, schedules int) error {
	base := uint64(time.Now().UnixNano())
	for i := range uint64(schedules) {
		seed := base + i
		if err := simulate(seed, kind, nil); err != nil {
			return fmt.Errorf("after %d schedules: %w\nto see it again: go test ./functions/inbox -run 'Model' -v -inbox.seed=%d", i, err, seed)
		}
	}
	return nil
}

// crashed unwinds a worker whose process has died.
type crashed struct{}

// An actor is whoever takes steps: a worker, a request inside the store, a reader.
type actor struct {
	name  string
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	ready func() bool // nil: always
}

// step waits for the scheduler's turn. What follows it, up to the next step,
// happens at once.
func (a *actor) step() {
	if !a.yield(struct{}{}) {
		panic(crashed{})
	}
}

type world struct {
	kind   storeKind
	rng    *rand.Rand
	actors []*actor
	tell   func(string, ...any)
	now    int // steps taken
	faults int // how many more there may be
	wrong  error

	inbox  map[string][]im.Entry // by user, in the order of becoming visible
	byKey  map[im.EntryKey]int64
	hinted map[string]int64
	told   map[delivered]bool

	messages []*said
	groups   map[string][]string
	pending  [][]int // batches of messages, to be handled until done
	working  int
	changing bool // not all changes are made
}

// said is a message, and whose inbox it has to end in.
type said struct {
	im.Message
	event      event.Event
	recipients []string
	quiet      bool
	old        bool  // it may come after what amends it
	amends     *said // what it amends, and to what
	now        im.Message
	made       bool // the change that it tells of is in history
	out        bool // and it is told of it
	done       bool // it has been handled once
}

type delivered struct {
	im.EntryKey
	seq int64
}

func simulate(seed uint64, kind storeKind, tell func(string, ...any)) error {
	w := &world{
		kind:   kind,
		rng:    rand.New(rand.NewPCG(seed, 0)),
		tell:   tell,
		inbox:  make(map[string][]im.Entry),
		byKey:  make(map[im.EntryKey]int64),
		hinted: make(map[string]int64),
		told:   make(map[delivered]bool),
		groups: make(map[string][]string),
	}
	w.faults = w.rng.IntN(12)
	w.say()
	w.cut(w.all())
	for range w.rng.IntN(3) { // the same again, cut differently
		w.cut(w.all())
	}
	w.changing = true
	w.spawn("changes", w.change)
	workers := 2 + w.rng.IntN(3)
	w.working = workers
	for i := range workers {
		w.spawn(fmt.Sprintf("worker %d", i), w.work)
	}
	w.spawn("reader", w.read)
	w.run()
	if w.wrong == nil {
		w.check()
	}
	for _, a := range w.actors {
		a.stop()
	}
	return w.wrong
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf("step %d: %s", w.now, fmt.Sprintf(format, args...))
		w.trace("WRONG: %v", w.wrong)
	}
}

func (w *world) trace(format string, args ...any) {
	if w.tell != nil {
		w.tell("%4d  %s", w.now, fmt.Sprintf(format, args...))
	}
}

// fault reports whether something goes wrong here that could.
func (w *world) fault(oneIn int) bool {
	if w.faults == 0 || w.rng.IntN(oneIn) > 0 {
		return false
	}
	w.faults--
	return true
}

func (w *world) spawn(name string, body func(*actor)) *actor {
	a := &actor{name: name}
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != (crashed{}) {
				w.fail("%s panicked: %v", name, r)
			}
		}()
		a.yield = yield
		a.step()
		body(a)
	})
	a.next()
	w.actors = append(w.actors, a)
	return a
}

func (w *world) run() {
	for w.wrong == nil && len(w.actors) > 0 {
		if w.now++; w.now > 20_000 {
			w.fail("it does not end")
			return
		}
		if w.fault(40) {
			w.mislay()
		}
		var able []int
		for i, a := range w.actors {
			if a.ready == nil || a.ready() {
				able = append(able, i)
			}
		}
		if len(able) == 0 {
			w.fail("nobody can go on")
			return
		}
		i := able[w.rng.IntN(len(able))]
		if _, more := w.actors[i].next(); !more {
			w.actors = slices.Delete(w.actors, i, i+1)
		}
	}
}

var modelUsers = []string{"aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd"}

// say makes messages between users and in groups, and notices that amend them.
func (w *world) say() {
	users := modelUsers[:2+w.rng.IntN(3)]
	w.groups["gggggggggggggggg"] = slices.Clone(users)
	for i := range 2 + w.rng.IntN(6) {
		from, to := users[w.rng.IntN(len(users))], users[w.rng.IntN(len(users))]
		s := &said{Message: im.Message{From: from, Kind: im.KindText, Text: fmt.Sprint(i)}}
		if from == to {
			s.Conversation, s.recipients = im.Group("gggggggggggggggg"), users
		} else {
			s.Conversation, s.recipients = im.Direct(from, to), []string{from, to}
		}
		s.old = w.rng.IntN(2) == 0
		w.add(s, s.Message.Recipients())
	}
	for revision := range w.rng.IntN(5) {
		of := w.messages[w.rng.IntN(len(w.messages))]
		if of.amends != nil {
			continue
		}
		s := &said{
			Message:    im.Message{Conversation: of.Conversation, From: of.From, Kind: im.KindNotice},
			recipients: of.recipients, quiet: true, amends: of, now: of.Message,
		}
		s.now.Revision = 1 + revision
		switch to := of.Message.Recipients(); w.rng.IntN(3) {
		case 0: // for its sender alone
			s.recipients = []string{of.From}
			s.now.Revision, s.now.Kind, s.now.Text = 1<<30, im.KindDeleted, ""
			w.add(s, s.recipients)
		case 1:
			s.now.Recalled, s.now.Text = true, ""
			w.add(s, to)
		default:
			s.now.Text = fmt.Sprint("edited ", revision)
			w.add(s, to)
		}
	}
}

// add makes the event of a message.
func (w *world) add(s *said, recipients []string) {
	n := len(w.messages) + 1
	// Of years to come, and hence not old; or of 1970.
	s.ID, s.Time = fmt.Sprintf("0fffffff-0000-7000-8000-%012d", n), im.Time(0x0fffffff0000*1000)
	if s.old {
		s.ID, s.Time = fmt.Sprintf("00000000-0000-7000-8000-%012d", n), 0
	}
	accepted := event.Accepted{Message: s.Message, Recipients: recipients, Quiet: s.quiet}
	if s.amends != nil {
		accepted.Amended = []im.Message{s.now}
	}
	data, err := json.Marshal(accepted)
	if err != nil {
		w.fail("%v", err)
	}
	s.event = event.Event{ID: s.ID, Type: event.MessageAccepted, Subject: string(s.Conversation), Data: data}
	w.messages = append(w.messages, s)
}

func (w *world) all() []int {
	all := make([]int, len(w.messages))
	for i := range all {
		all[i] = i
	}
	return all
}

// amendments returns the notices that amend m.
func (w *world) amendments(m *said) []int {
	return slices.DeleteFunc(w.all(), func(i int) bool { return w.messages[i].amends != m })
}

// out returns the notices that amend m and that there are so far.
func (w *world) out(m *said) []int {
	return slices.DeleteFunc(w.amendments(m), func(i int) bool { return !w.messages[i].out })
}

// ahead reports whether a notice is not out yet, or could overtake the message
// that it amends. What is not old stands before it in its partition.
func (w *world) ahead(m int) bool {
	s := w.messages[m]
	return s.amends != nil && (!s.out || !s.amends.old && !s.amends.done)
}

// change makes the changes that are to be made, each of which is in history
// before its notice is out.
func (w *world) change(a *actor) {
	defer func() { w.changing = false }()
	made := w.rng.IntN(len(w.messages)) // before all else
	for i, s := range w.messages {
		if s.amends == nil {
			continue
		}
		if i > made {
			for range w.rng.IntN(20) {
				a.step()
			}
		}
		steps := []func(){
			func() { s.made = true; w.trace("change %d is made", i+1) },
			func() { s.out = true; w.cut([]int{i}) },
		}
		if w.kind.behind {
			slices.Reverse(steps)
		}
		steps[0]()
		for range w.rng.IntN(20) {
			a.step()
		}
		steps[1]()
	}
}

// revision returns what a message is to a user by the changes that are made.
func (w *world) revision(k im.EntryKey) (n int) {
	for _, s := range w.messages {
		if s.made && s.now.ID == k.ID && slices.Contains(s.recipients, k.User) {
			n = max(n, s.now.Revision)
		}
	}
	return n
}

// cut makes pending batches of messages; one may be in several.
func (w *world) cut(messages []int) {
	messages = slices.DeleteFunc(slices.Clone(messages), w.ahead)
	if w.rng.IntN(3) == 0 { // as from a source that keeps no order
		w.rng.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
	}
	for len(messages) > 0 {
		n := 1 + w.rng.IntN(len(messages))
		batch := messages[:n:n]
		if again := w.rng.IntN(len(w.messages)); w.rng.IntN(4) == 0 && !w.ahead(again) {
			batch = append(batch, again)
		}
		for _, m := range batch {
			if w.rng.IntN(2) == 0 {
				batch = append(batch, w.out(w.messages[m])...)
			}
		}
		w.pending = append(w.pending, batch)
		messages = messages[n:]
	}
}

// work handles batches until none is left. When its process dies another takes
// its place, and what was not done comes again.
func (w *world) work(a *actor) {
	defer func() { w.working-- }()
	for len(w.pending) > 0 || w.changing {
		if len(w.pending) == 0 {
			a.step()
			continue
		}
		i := w.rng.IntN(len(w.pending))
		batch := w.pending[i]
		w.pending = slices.Delete(w.pending, i, i+1)
		if !w.attempt(a, batch) {
			w.cut(batch)
			a.step()
			continue
		}
		for _, m := range batch {
			if s := w.messages[m]; !s.done {
				s.done = true
				w.cut(w.out(s))
			}
		}
		a.step()
	}
}

// attempt handles a batch and reports whether it is done for good.
func (w *world) attempt(a *actor, batch []int) (done bool) {
	defer func() {
		if r := recover(); r == (diedHere{}) {
			w.trace("%s: dies", a.name)
			done = false
		} else if r != nil {
			panic(r)
		}
	}()
	w.trace("%s: has messages %v", a.name, batch)
	events := make([]event.Event, len(batch))
	for i, m := range batch {
		events[i] = w.messages[m].event
	}
	c := &client{world: w, a: a, began: make(map[im.EntryKey]int)}
	for _, m := range batch {
		if s := w.messages[m]; s.old {
			for _, u := range s.recipients {
				k := im.EntryKey{User: u, ID: s.ID, Conversation: s.Conversation}
				c.began[k] = w.revision(k)
			}
		}
	}
	p := newPersister(c, clientHints{c}, c, c, c, func(*event.Event) {}, slog.New(slog.DiscardHandler))
	p.rows, p.appender.rows = 1+w.rng.IntN(12), w.kind.rows
	if p.appender.rows == 0 {
		p.appender.rows = 1 + w.rng.IntN(8)
	}
	p.appender.pause = func(context.Context, time.Duration) error { c.step(); return nil }
	err := p.persist(context.Background(), events)
	c.step() // until this the broker does not know
	if err != nil && !im.KindOf(err).Transient() {
		w.fail("%s: good messages were given up: %v", a.name, err)
	}
	w.trace("%s: done with %v: %v", a.name, batch, err)
	return err == nil && !w.fault(12) // or the offset is not committed
}

// diedHere unwinds an attempt; the worker goes on as another process.
type diedHere struct{}

// A client is a worker's way to the store and the rest.
type client struct {
	*world
	a     *actor
	began map[im.EntryKey]int // revisions of the old messages when it began
}

// shows checks what somebody gets to see of a message: nothing that had been
// changed before that was begun with.
func (c *client) shows(k im.EntryKey, message json.RawMessage) {
	var m im.Message
	if err := json.Unmarshal(message, &m); err != nil || m.Revision < c.began[k] {
		c.fail("%s: %s gets to see %+v, which was revision %d already", c.a.name, k.User, m, c.began[k])
	}
}

// step waits for its turn, at which the process may die.
func (c *client) step() {
	c.a.step()
	if c.fault(20) {
		panic(diedHere{})
	}
}

var errDown = im.Errorf(im.Unavailable, "it is down")

// An operation is a write inside the store. It goes on when nobody waits for
// it any more.
type operation struct {
	*actor
	entries []im.Entry
	n       int
	err     error
	done    bool
	left    bool // the client has got an error
}

func (c *client) Insert(_ context.Context, entries []im.Entry) (int, error) {
	c.step()
	for _, e := range entries {
		c.shows(e.Key(), e.Message)
	}
	if c.kind.early {
		for _, e := range entries {
			c.hinted[e.User] = max(c.hinted[e.User], e.Seq)
		}
	}
	op := c.operate("insert", entries, c.kind.insert)
	return op.n, op.err
}

// operate has the store do something, and waits for it; not for ever.
func (c *client) operate(what string, entries []im.Entry, do func(*world, *operation)) *operation {
	op := &operation{entries: slices.Clone(entries)}
	op.actor = c.spawn(c.a.name+"'s "+what, func(*actor) {
		do(c.world, op)
		op.done = true
	})
	c.a.ready = func() bool {
		op.left = op.left || !op.done && c.fault(60)
		return op.done || op.left
	}
	defer func() { c.a.ready = nil }()
	c.step()
	if !op.done {
		c.trace("%s: its %s times out", c.a.name, what)
		return &operation{err: errDown}
	}
	if op.err != nil && !errors.Is(op.err, im.Conflict) {
		op.n = 0
	}
	return op
}

func (c *client) Amend(_ context.Context, entries []im.Entry) error {
	c.step()
	return c.operate("amendment", entries, amendEach).err
}

// amendEach amends entries one by one, as MongoDB does; that PostgreSQL amends
// all of them at once is a case of it.
func amendEach(w *world, op *operation) {
	for _, e := range op.entries {
		op.step()
		i := slices.IndexFunc(w.inbox[e.User], func(had im.Entry) bool { return had.ID == e.ID })
		if i < 0 || w.kind.neglects && w.fault(20) {
			continue
		}
		if had := &w.inbox[e.User][i]; had.Revision < e.Revision || w.kind.overwrites {
			had.Message, had.Class, had.Revision = e.Message, e.Class, e.Revision
			w.trace("%s: message %s of %s is revision %d", op.name, strings.TrimLeft(e.ID[24:], "0"), e.User[:1], e.Revision)
		}
		if w.fault(40) {
			op.err = errDown
			return
		}
	}
}

var errTaken = im.Errorf(im.Conflict, "it is there already")

func insertPrefix(w *world, op *operation) {
	for _, e := range op.entries {
		op.step()
		if w.taken(e) {
			w.trace("%s: conflict at %s %d", op.name, e.User[:1], e.Seq)
			op.err = errTaken
			return
		}
		w.put(op, e)
		op.n++
		if w.fault(40) {
			op.err = errDown
			return
		}
	}
}

func insertUnordered(w *world, op *operation) {
	for i, e := range op.entries {
		op.step()
		if w.taken(e) {
			if op.err == nil {
				op.n, op.err = i, errTaken
			}
			continue
		}
		w.put(op, e)
	}
	if op.err == nil {
		op.n = len(op.entries)
	}
}

func insertAtomic(w *world, op *operation) {
	op.step()
	if op.left && w.rng.IntN(2) == 0 || w.fault(40) {
		op.err = errDown // rolled back
		return
	}
	seqs, ids := map[delivered]bool{}, map[im.EntryKey]bool{}
	for _, e := range op.entries {
		seq := delivered{im.EntryKey{User: e.User}, e.Seq}
		if w.taken(e) || seqs[seq] || ids[e.Key()] {
			w.trace("%s: conflict at %s %d", op.name, e.User[:1], e.Seq)
			op.err = errTaken
			return
		}
		seqs[seq], ids[e.Key()] = true, true
	}
	for _, e := range op.entries {
		w.put(op, e)
	}
	op.n = len(op.entries)
	op.step()
	if w.fault(40) {
		op.err = errDown // committed, but the answer is lost
	}
}

func (w *world) taken(e im.Entry) bool {
	if _, ok := w.byKey[e.Key()]; ok && !w.kind.doubles {
		return true
	}
	return !w.kind.sharesSeqs && slices.ContainsFunc(w.inbox[e.User], func(had im.Entry) bool { return had.Seq == e.Seq })
}

// put makes an entry visible, which is when P3 is kept or broken: all before
// it have to be visible already.
func (w *world) put(op *operation, e im.Entry) {
	w.trace("%s: %s %d is message %s", op.name, e.User[:1], e.Seq, strings.TrimLeft(e.ID[24:], "0"))
	if want := int64(len(w.inbox[e.User])) + 1; e.Seq != want {
		w.fail("P3: %s: seq %d of %s becomes visible where %d is next", op.name, e.Seq, e.User, want)
	}
	w.inbox[e.User] = append(w.inbox[e.User], e)
	w.byKey[e.Key()] = e.Seq
	for _, m := range w.messages {
		if m.ID == e.ID && m.quiet != (e.Class == im.ClassQuiet) {
			// PostgreSQL tells messages apart by that, too: it could be there twice.
			w.fail("%s: message %s comes to %s as class %d", op.name, e.ID, e.User, e.Class)
		}
		if m.ID != e.ID || m.amends == nil || m.amends.old && !m.amends.done {
			continue // what is on its way now is amended when it is there
		}
		for _, had := range w.inbox[e.User] {
			if had.ID == m.amends.ID && had.Revision < m.now.Revision {
				w.fail("%s: %s reads of an amendment that is not made: message %s is revision %d, not %d", op.name, e.User, had.ID, had.Revision, m.now.Revision)
			}
		}
	}
}

func (c *client) Heads(_ context.Context, users []string) (map[string]int64, error) {
	c.step()
	if c.fault(30) {
		return nil, errDown
	}
	heads := make(map[string]int64)
	for _, u := range users {
		if n := len(c.inbox[u]); n > 0 {
			heads[u] = c.inbox[u][n-1].Seq
		}
	}
	c.trace("%s: the store has heads %v", c.a.name, heads)
	return heads, nil
}

func (c *client) Find(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	c.step()
	if c.fault(30) {
		return nil, errDown
	}
	found := make(map[im.EntryKey]int64)
	for _, k := range keys {
		if seq, ok := c.byKey[k]; ok {
			found[k] = seq
		}
	}
	c.trace("%s: finds %d of %d", c.a.name, len(found), len(keys))
	return found, nil
}

func (c *client) Members(_ context.Context, group string) ([]string, error) {
	c.step()
	if c.fault(30) {
		return nil, errDown
	}
	return c.groups[group], nil
}

func (c *client) ChangedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Message, error) {
	c.step()
	if c.fault(30) {
		return nil, errDown
	}
	changed := make(map[im.EntryKey]im.Message)
	for _, s := range c.messages {
		if s.made && s.now.Kind != im.KindDeleted && !c.kind.ignorant {
			if k := (im.EntryKey{ID: s.now.ID, Conversation: s.Conversation}); slices.Contains(keys, k) && s.now.Revision > changed[k].Revision {
				changed[k] = s.now
			}
		}
	}
	c.trace("%s: history has %v", c.a.name, changed)
	return changed, nil
}

func (c *client) DeletedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error) {
	c.step()
	if c.fault(30) {
		return nil, errDown
	}
	deleted := make(map[im.EntryKey]bool)
	for _, s := range c.messages {
		if s.made && s.now.Kind == im.KindDeleted && !c.kind.ignorant {
			if k := (im.EntryKey{User: s.From, ID: s.now.ID, Conversation: s.Conversation}); slices.Contains(keys, k) {
				deleted[k] = true
			}
		}
	}
	c.trace("%s: history has deleted %v", c.a.name, deleted)
	return deleted, nil
}

func (c *client) Publish(_ context.Context, topic string, events []event.Event) error {
	c.step()
	for _, e := range events {
		if c.fault(20) {
			if c.kind.forgets {
				return nil
			}
			return errDown // some are written all the same
		}
		var a event.Appended
		var m im.Message
		if err := errors.Join(json.Unmarshal(e.Data, &a), json.Unmarshal(a.Message, &m)); err != nil || topic != event.TopicDeliveries {
			c.fail("a delivery cannot be read: %v", err)
		}
		for _, to := range a.Entries {
			d := delivered{im.EntryKey{User: to.User, ID: m.ID, Conversation: m.Conversation}, to.Seq}
			c.shows(d.EntryKey, a.Message)
			if had, ok := c.byKey[d.EntryKey]; !ok || had != d.seq && !c.kind.doubles {
				c.fail("P2: a delivery says that %s stands at %d of %s; it stands at %d", d.ID, d.seq, d.User, had)
			}
			c.told[d] = true
		}
	}
	return nil
}

// clientHints are the hints as a client sees them.
type clientHints struct{ *client }

func (h clientHints) Heads(_ context.Context, users []string) (map[string]int64, error) {
	h.step()
	if h.fault(30) {
		return nil, errDown
	}
	heads := make(map[string]int64)
	for _, u := range users {
		if n, ok := h.hinted[u]; ok {
			heads[u] = n
		}
	}
	h.trace("%s: the hints are %v", h.a.name, heads)
	return heads, nil
}

func (h clientHints) RaiseHeads(_ context.Context, heads map[string]int64) error {
	for _, u := range slices.Sorted(maps.Keys(heads)) {
		h.step()
		if h.fault(20) {
			return errDown
		}
		h.hinted[u] = max(h.hinted[u], heads[u])
	}
	return nil
}

// mislay loses hints, or takes them back to what was true once.
func (w *world) mislay() {
	switch users := slices.Sorted(maps.Keys(w.hinted)); {
	case len(users) == 0:
	case w.rng.IntN(4) == 0:
		clear(w.hinted)
		w.trace("all hints are lost")
	default:
		u := users[w.rng.IntN(len(users))]
		w.hinted[u] = w.rng.Int64N(w.hinted[u] + 1)
		w.trace("the hint of %s is %d", u[:1], w.hinted[u])
	}
}

// read moves a cursor over each inbox while they grow, and at the end has to
// have seen all of them.
func (w *world) read(a *actor) {
	cursor, seen := make(map[string]int64), make(map[im.EntryKey]bool)
	for last := false; ; {
		for _, u := range modelUsers {
			a.step()
			var page []im.Entry
			for _, e := range w.inbox[u] {
				if e.Seq > cursor[u] {
					page = append(page, e)
				}
			}
			slices.SortStableFunc(page, func(x, y im.Entry) int { return int(x.Seq - y.Seq) })
			for _, e := range page[:min(2, len(page))] {
				cursor[u] = e.Seq
				seen[e.Key()] = true
			}
			last = last && len(page) <= 2
		}
		if last {
			break
		}
		last = len(w.actors) == 1 // nothing is going on any more
	}
	for _, m := range w.messages {
		for _, u := range m.recipients {
			if !seen[im.EntryKey{User: u, ID: m.ID, Conversation: m.Conversation}] {
				w.fail("P3: %s has read all of their inbox but not %s", u, m.ID)
			}
		}
	}
}

// check looks at what is there in the end.
func (w *world) check() {
	want := make(map[im.EntryKey]bool)
	for _, m := range w.messages {
		for _, u := range m.recipients {
			want[im.EntryKey{User: u, ID: m.ID, Conversation: m.Conversation}] = true
		}
	}
	times := make(map[im.EntryKey]int)
	for _, inbox := range w.inbox {
		for i, e := range inbox {
			times[e.Key()]++
			w.standsAsAmended(e)
			if e.Seq != int64(i+1) {
				w.fail("P3: seq %d of %s stands in place %d", e.Seq, e.User, i+1)
			}
			if !w.told[delivered{e.Key(), e.Seq}] {
				w.fail("P2: nobody was told that %s stands at %d of %s", e.ID, e.Seq, e.User)
			}
		}
	}
	for k := range want {
		if times[k] != 1 {
			w.fail("P2: %s is in the inbox of %s %d times", k.ID, k.User, times[k])
		}
	}
	for k := range times {
		if !want[k] {
			w.fail("P6: %s is in the inbox of %s, for whom it is not", k.ID, k.User)
		}
	}
}

// standsAsAmended checks that an entry is what the greatest revision of its
// message makes it, of those that its user was to get.
func (w *world) standsAsAmended(e im.Entry) {
	i := slices.IndexFunc(w.messages, func(m *said) bool { return m.ID == e.ID })
	if i < 0 {
		return // which is found elsewhere
	}
	s := w.messages[i]
	want := s.Message
	for _, n := range w.amendments(s) {
		if by := w.messages[n]; slices.Contains(by.recipients, e.User) && by.now.Revision > want.Revision {
			want = by.now
		}
	}
	class := im.ClassOf(want.Kind, want.From, e.User, want.Recalled, s.quiet)
	var got im.Message
	if err := json.Unmarshal(e.Message, &got); err != nil || got.Text != want.Text || got.Revision != want.Revision ||
		e.Revision != want.Revision || e.Class != class || e.Conversation != s.Conversation {
		w.fail("P2: %s has %+v in its inbox, in the end it is %+v of class %d", e.User, e, want, class)
	}
}
