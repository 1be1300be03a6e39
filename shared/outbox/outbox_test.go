package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
)

// world is all that an outbox stands on. It notes what is asked of it, in order.
type world struct {
	did []string

	stale   []im.Stale
	notices []im.Notice

	waiting []im.Pending // in the outbox
	broken  map[string]error
	aside   map[string]error

	// why it fails
	change, withdraw, place, commit, publish, published, pending, setAside error

	refuse map[string]error // by id of the notice
	log    []event.Event    // what is durable
	clock  im.Time
}

func (w *world) outbox() *Outbox {
	return &Outbox{store: w, places: w, caches: w, to: w, log: slog.New(slog.DiscardHandler), metrics: newMetrics(),
		seal: func(e *event.Event) { e.Seal = "sealed" }}
}

func (w *world) note(what string, n int) { w.did = append(w.did, fmt.Sprint(what, " ", n)) }

func (w *world) Change(ctx context.Context, f func(context.Context, *postgres.Tx) error,
	prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error)) ([]im.Stale, []im.Pending, error) {
	if err := f(ctx, nil); err != nil {
		return nil, nil, err
	}
	pending, err := prepare(ctx, w.stale, w.notices)
	if err != nil {
		return nil, nil, err
	}
	if w.commit != nil {
		return nil, nil, w.commit
	}
	w.note("commit", len(pending))
	w.waiting = append(w.waiting, pending...)
	return w.stale, pending, nil
}

func (w *world) Withdraw(_ context.Context, s []im.Stale) error {
	w.note("withdraw", len(s))
	return w.withdraw
}

func (w *world) Place(_ context.Context, reqs []im.PlaceRequest) []im.PlaceResult {
	out := make([]im.PlaceResult, len(reqs))
	for i := range reqs {
		w.clock += 7
		out[i] = im.PlaceResult{Place: im.Place{Time: w.clock, ID: im.NewMessageID(w.clock)}, Err: w.place}
	}
	w.note("place", len(reqs))
	return out
}

func (w *world) PublishEach(ctx context.Context, topic string, events []event.Event) []error {
	w.note("publish", len(events))
	if _, ok := ctx.Deadline(); !ok || topic != event.TopicMessages {
		panic("published to " + topic + ", for ever")
	}
	errs := make([]error, len(events))
	for i, e := range events {
		var a event.Accepted
		if err := json.Unmarshal(e.Data, &a); err != nil {
			panic(err)
		}
		errs[i] = w.refuse[a.Message.ClientID]
		if errs[i] == nil {
			errs[i] = w.publish
		}
		if errs[i] == nil {
			w.log = append(w.log, e)
		}
	}
	return errs
}

func (w *world) Pending(_ context.Context, age time.Duration, after im.Pending, limit int) ([]im.Pending, map[string]error, error) {
	broken := map[string]error{}
	for id, err := range w.broken {
		if w.aside[id] == nil {
			broken[id] = err
		}
	}
	rest := slices.DeleteFunc(slices.Clone(w.waiting), func(p im.Pending) bool { return p.Time <= after.Time })
	return rest[:min(limit, len(rest))], broken, w.pending
}

func (w *world) Published(_ context.Context, ids []string) error {
	w.note("take out", len(ids))
	if w.published == nil {
		w.waiting = slices.DeleteFunc(w.waiting, func(p im.Pending) bool { return slices.Contains(ids, p.ID) })
	}
	return w.published
}

func (w *world) SetAside(_ context.Context, id string, why error) error {
	w.note("set aside", 1)
	if w.setAside != nil {
		return w.setAside
	}
	if w.aside == nil {
		w.aside = map[string]error{}
	}
	w.aside[id] = why
	w.waiting = slices.DeleteFunc(w.waiting, func(p im.Pending) bool { return p.ID == id })
	return nil
}

func notice(typ string, to ...string) im.Notice {
	return im.Notice{Conversation: im.Direct(ann, bob), From: ann, Type: typ, Data: json.RawMessage(`{"z":"<1>","a":[1, 2]}`), To: to}
}

func TestAChange(t *testing.T) {
	down := im.Errorf(im.Unavailable, "it is down")
	two := []im.Notice{notice(im.FriendAccepted), notice(im.FriendUpdated, ann)}
	stale := []im.Stale{{Pair: im.PairOf(ann, bob), Version: 7}}
	huge := notice(im.MessageEdited)
	huge.Amended = []im.Message{{Text: strings.Repeat("x", maxNotice)}}
	crowd := notice(im.GroupJoined)
	for range maxRecipients + 1 {
		crowd.To = append(crowd.To, im.NewID())
	}
	broken := notice(im.GroupJoined)
	broken.Data = json.RawMessage(`{]}`)
	for _, tt := range []struct {
		name  string
		world world
		want  error
		did   string
		left  int // notices that wait
	}{
		{name: "is withdrawn from caches before and after, and told of", world: world{stale: stale, notices: two},
			did: "change 1, withdraw 1, place 2, commit 2, withdraw 1, publish 2, take out 2"},
		{name: "that makes nothing stale", world: world{notices: two}, did: "change 1, place 2, commit 2, publish 2, take out 2"},
		{name: "that nobody is told of", world: world{stale: stale}, did: "change 1, withdraw 1, place 0, commit 0, withdraw 1"},
		{name: "that may not be made", world: world{stale: stale, notices: two, change: im.Errorf(im.Denied, "no")}, want: im.Denied, did: "change 1"},
		{name: "is not made if caches cannot be told", world: world{stale: stale, notices: two, withdraw: down}, want: im.Unavailable, did: "change 1, withdraw 1"},
		{name: "is not made if there is no place for its notices", world: world{stale: stale, notices: two, place: down}, want: im.Unavailable,
			did: "change 1, withdraw 1, place 2"},
		{name: "that the database does not take is not told of", world: world{stale: stale, notices: two, commit: down}, want: im.Unavailable,
			did: "change 1, withdraw 1, place 2"},
		{name: "is made though nobody can be told yet", world: world{notices: two, publish: down}, did: "change 1, place 2, commit 2, publish 2", left: 2},
		{name: "is made though the outbox is not told that it was", world: world{notices: two, published: down},
			did: "change 1, place 2, commit 2, publish 2, take out 2", left: 2},
		{name: "with a notice that nothing takes is not made", world: world{notices: []im.Notice{huge}}, want: im.TooLarge, did: "change 1, place 1"},
		{name: "with a notice to too many is not made", world: world{notices: []im.Notice{crowd}}, want: im.TooLarge, did: "change 1, place 1"},
		{name: "with a notice that cannot be written is not made", world: world{notices: []im.Notice{broken}}, want: im.Internal, did: "change 1, place 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &tt.world
			err := w.outbox().Change(t.Context(), func(context.Context, *postgres.Tx) error { w.note("change", 1); return w.change })
			if tt.want == nil && err != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if got := strings.Join(w.did, ", "); got != tt.did || len(w.waiting) != tt.left {
				t.Errorf("%s, %d left\nwant %s, %d", got, len(w.waiting), tt.did, tt.left)
			}
			if w.publish == nil && tt.want == nil && len(w.log) != len(w.notices) {
				t.Errorf("%d events are durable", len(w.log))
			}
		})
	}
}

func TestACacheIsToldOfAChangeThatIsMadeUntilItHearsIt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails func(n int) bool
		told  func(n int) bool
	}{
		{"it hears the second time", func(n int) bool { return n == 2 }, func(n int) bool { return n == 3 }},
		{"it does not hear any more, and the change is not undone", func(n int) bool { return n >= 2 }, func(n int) bool { return n > 3 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{stale: []im.Stale{{Group: "g", Version: 2}}, notices: []im.Notice{notice(im.GroupJoined)}}
				o, n := w.outbox(), 0
				o.caches = failsAt{w, &n, tt.fails}
				if err := o.Change(t.Context(), func(context.Context, *postgres.Tx) error { return nil }); err != nil || len(w.log) != 1 || !tt.told(n) {
					t.Errorf("%v, %d events, told %d times", err, len(w.log), n)
				}
			})
		})
	}
}

// failsAt does not hear some of the times that it is told.
type failsAt struct {
	*world
	n     *int
	fails func(n int) bool
}

func (f failsAt) Withdraw(context.Context, []im.Stale) error {
	if *f.n++; f.fails(*f.n) {
		return im.Errorf(im.Unavailable, "it is down")
	}
	return nil
}

func TestARequestThatIsCutOffIsNotUntold(t *testing.T) {
	w := &world{notices: []im.Notice{notice(im.FriendAccepted)}}
	ctx, cancel := context.WithCancel(t.Context())
	o := w.outbox()
	o.to = publishesIf{w, func(ctx context.Context) error { return ctx.Err() }}
	if err := o.Change(ctx, func(context.Context, *postgres.Tx) error { cancel(); return nil }); err != nil || len(w.waiting) != 0 {
		t.Errorf("%v, %d notices wait", err, len(w.waiting))
	}
}

type publishesIf struct {
	*world
	f func(context.Context) error
}

func (p publishesIf) PublishEach(ctx context.Context, topic string, events []event.Event) []error {
	p.publish = p.f(ctx)
	return p.world.PublishEach(ctx, topic, events)
}

func TestTheEventOfANoticeIsTheSameEachTime(t *testing.T) {
	alone := notice(im.FriendUpdated)
	alone.To = []string{}
	group := im.Notice{Conversation: im.Group(ann), From: ann, Type: im.GroupDissolved, Data: json.RawMessage(`{}`)}
	quiet := notice(im.FriendDeleted)
	quiet.Quiet = true
	quiet.Amended = []im.Message{{ID: "m", Text: "<é>", Revision: 2}}
	for _, tt := range []struct {
		name       string
		notice     im.Notice
		recipients []string
	}{
		{"to both of a pair", notice(im.FriendAccepted), []string{ann, bob}},
		{"to some", notice(im.GroupLeft, bob, bob), []string{ann, bob}},
		{"to nobody but who made it", alone, []string{ann}},
		{"to the members of a group", group, nil},
		{"quietly", quiet, []string{ann, bob}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{notices: []im.Notice{tt.notice}, published: im.Errorf(im.Unavailable, "killed")}
			o := w.outbox()
			if err := o.Change(t.Context(), func(context.Context, *postgres.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			// As the outbox has it.
			b, err := im.JSON(w.waiting[0].Notice)
			if err != nil {
				t.Fatal(err)
			}
			w.waiting[0].Notice = im.Notice{}
			if err := json.Unmarshal(b, &w.waiting[0].Notice); err != nil {
				t.Fatal(err)
			}
			w.published = nil
			if err := o.Relay(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(w.log) != 2 || len(w.waiting) != 0 {
				t.Fatalf("%d events, %d wait", len(w.log), len(w.waiting))
			}
			first, second := w.log[0], w.log[1]
			if first.ID != second.ID || first.Time != second.Time || string(first.Data) != string(second.Data) || first.PartitionKey != second.PartitionKey || second.Seal != "sealed" {
				t.Errorf("%+v %s\n%+v %s", first, first.Data, second, second.Data)
			}
			var a event.Accepted
			if err := json.Unmarshal(first.Data, &a); err != nil {
				t.Fatal(err)
			}
			if a.Message.ID != first.ID || a.Message.Time != first.Time || a.Message.Kind != im.KindNotice || first.PartitionKey != string(tt.notice.Conversation) ||
				!slices.Equal(a.Recipients, tt.recipients) || a.Quiet != tt.notice.Quiet || len(a.Amended) != len(tt.notice.Amended) {
				t.Errorf("%+v", a)
			}
			var data struct{ Type string }
			if err := json.Unmarshal(a.Message.Data, &data); err != nil || data.Type != tt.notice.Type {
				t.Errorf("%s, %v", a.Message.Data, err)
			}
		})
	}
}

// left returns a world in which so many notices were left.
func left(n int) *world {
	w := &world{}
	for i := range n {
		at := im.Time(1e15 + i)
		w.waiting = append(w.waiting, im.Pending{ID: fmt.Sprint("n", i), Notice: notice(im.FriendAccepted), Place: im.Place{Time: at, ID: im.NewMessageID(at)}})
	}
	return w
}

func TestTheRelayPublishesAllThatWasLeft(t *testing.T) {
	w := left(2*relayBatch + 1)
	ids := make([]string, len(w.waiting))
	for i, p := range w.waiting {
		ids[i] = p.Place.ID
	}
	if err := w.outbox().Relay(t.Context()); err != nil || len(w.waiting) != 0 {
		t.Errorf("%v, %d are left", err, len(w.waiting))
	}
	if !slices.EqualFunc(w.log, ids, func(e event.Event, id string) bool { return e.ID == id }) {
		t.Errorf("%d events, not in the order of their times", len(w.log))
	}
}

func TestTheAgeOfWhatIsLeftIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := left(2)
		for i := range w.waiting {
			w.waiting[i].Place.Time = im.Now() - im.Time(90-i)*1e6
		}
		w.publish = im.Errorf(im.Unavailable, "it is down")
		o := w.outbox()
		if err := o.Relay(t.Context()); !errors.Is(err, im.Unavailable) {
			t.Errorf("error = %v", err)
		}
		if got := testutil.ToFloat64(o.metrics.age); got != 90 {
			t.Errorf("what waits is %v s old, want 90", got)
		}
		w.publish = nil
		if err := o.Relay(t.Context()); err != nil {
			t.Error(err)
		}
		if got := testutil.ToFloat64(o.metrics.age); got != 0 {
			t.Errorf("what waits is %v s old, and nothing does", got)
		}
	})
}

func TestTheRelayIsHeldUpByNothingThatCannotBePublished(t *testing.T) {
	w := left(relayBatch + 3)
	w.refuse = map[string]error{"n1": im.Errorf(im.TooLarge, "the broker does not take it")}
	w.broken = map[string]error{"x1": errors.New("it is not JSON")}
	w.waiting[0].Data = json.RawMessage(`{]}`)
	if err := w.outbox().Relay(t.Context()); err != nil || len(w.waiting) != 0 {
		t.Errorf("%v, %d are left", err, len(w.waiting))
	}
	if len(w.log) != relayBatch+1 || len(w.aside) != 3 || w.aside["n0"] == nil || w.aside["n1"] == nil || w.aside["x1"] == nil {
		t.Errorf("%d are published, aside are %v", len(w.log), w.aside)
	}
}

func TestTheRelayEndsWithAnErrorThatMayPass(t *testing.T) {
	down := im.Errorf(im.Unavailable, "it is down")
	for _, tt := range []struct {
		name      string
		world     func(*world)
		did       string
		published int
	}{
		{"the message log", func(w *world) { w.publish = down }, "publish 3", 0},
		{"the message log, of one partition", func(w *world) { w.refuse = map[string]error{"n1": down} }, "publish 3, take out 2", 2},
		{"the database, first", func(w *world) { w.pending = down }, "", 0},
		{"the database, then", func(w *world) { w.published = down }, "publish 3, take out 3", 3},
		{"the database, at last", func(w *world) { w.broken = map[string]error{"x": errors.New("bad")}; w.setAside = down }, "publish 3, take out 3, set aside 1", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := left(3)
			tt.world(w)
			if err := w.outbox().Relay(t.Context()); !errors.Is(err, im.Unavailable) {
				t.Errorf("error = %v", err)
			}
			if got := strings.Join(w.did, ", "); got != tt.did || len(w.log) != tt.published {
				t.Errorf("%s, %d published; want %s, %d", got, len(w.log), tt.did, tt.published)
			}
		})
	}
}

func TestTheRelayLeavesTheRestToTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := left(10 * relayBatch)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		o := w.outbox()
		o.to = publishesIf{w, func(context.Context) error { time.Sleep(2 * time.Second); return nil }}
		if err := o.Relay(ctx); err != nil {
			t.Errorf("error = %v", err)
		}
		if n := len(w.waiting); n != 6*relayBatch {
			t.Errorf("%d are left", n)
		}
		cancel()
		if err := o.Relay(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("without time: %v", err)
		}
	})
}

// A partition without a leader holds up what goes there: neither what goes
// elsewhere, nor is its own turned round.
func TestTheRelayGoesOnPastWhatCannotBePublishedNow(t *testing.T) {
	down := im.Errorf(im.Unavailable, "it has no leader")
	in := func(w *world, from, to int, of string) {
		for i := from; i < to; i++ {
			w.waiting[i].Conversation = im.Group(fmt.Sprint(of, i%150))
			if of == "stuck" {
				w.refuse[w.waiting[i].ID] = down
			}
		}
	}
	w := left(4 * relayBatch)
	w.refuse = map[string]error{}
	in(w, 0, 250, "stuck")
	in(w, 250, 350, "fine")
	in(w, 350, 400, "stuck") // in conversations of which some are left already
	for i := range 50 {
		delete(w.refuse, fmt.Sprint("n", 350+i)) // the partition is back
	}
	o := w.outbox()
	err := o.Relay(t.Context())
	if !errors.Is(err, im.Unavailable) || !strings.Contains(err.Error(), "150 notices") || len(err.Error()) > 1000 {
		t.Errorf("error = %v", err)
	}
	if len(w.log) != 100 || len(w.waiting) != 300 || len(w.aside) > 0 {
		t.Errorf("%d are published, %d are left, aside are %v", len(w.log), len(w.waiting), w.aside)
	}
	if got := testutil.ToFloat64(o.metrics.age); got < 1 {
		t.Errorf("what waits is %v s old", got)
	}
	clear(w.refuse)
	if err := o.Relay(t.Context()); err != nil || len(w.waiting) > 0 {
		t.Errorf("the next run: %v, %d are left", err, len(w.waiting))
	}
	if got := testutil.ToFloat64(o.metrics.age); got != 0 {
		t.Errorf("what waits is %v s old, and nothing does", got)
	}
}

func TestTheRelayGivesUpWhereNothingCanBePublished(t *testing.T) {
	w := left(3 * mostLeft)
	for i := range w.waiting {
		w.waiting[i].Conversation = im.Group(fmt.Sprint(i))
	}
	w.publish = im.Errorf(im.Unavailable, "it is down")
	if err := w.outbox().Relay(t.Context()); !errors.Is(err, im.Unavailable) {
		t.Errorf("error = %v", err)
	}
	if n := len(w.did); n != mostLeft/relayBatch {
		t.Errorf("it has tried %d times", n)
	}
}
