package chat

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann     = "aaaaaaaaaaaaaaaa"
	bob     = "bbbbbbbbbbbbbbbb"
	cleo    = "cccccccccccccccc" // has blocked ann
	dave    = "dddddddddddddddd" // is a friend of ann
	nobody  = "zzzzzzzzzzzzzzzz"
	staff   = "ssssssssssssssss" // a group of ann and bob
	others  = "oooooooooooooooo" // a group without ann
	noGroup = "nnnnnnnnnnnnnnnn"
	quiet   = "qqqqqqqqqqqqqqqq" // a group of ann and bob in which all but bob are muted
	slow    = "llllllllllllllll" // a slow group of ann and bob, whose owner is bob
	choir   = "hhhhhhhhhhhhhhhh" // a group of ann, who is muted, and bob, who was
)

var down = &im.Error{Kind: im.Unavailable, Msg: "it is down", Err: errors.New("dial tcp: refused")}

// town knows who is what to whom.
type town struct {
	relationsErr, membersErr error
	newErr                   error // of who writes to strangers
	asked                    atomic.Int64

	mu           sync.Mutex
	reached, met []string
}

func (w *town) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	w.asked.Add(1)
	all := map[im.Pair]im.Relation{
		im.PairOf(ann, bob):  {Exist: true},
		im.PairOf(ann, cleo): {Exist: true, Blocked: true},
		im.PairOf(ann, dave): {Exist: true, Friends: true},
	}
	out := map[im.Pair]im.Relation{}
	for _, p := range pairs {
		out[p] = all[p]
	}
	return out, w.relationsErr
}

func (w *town) Reach(_ context.Context, from string, strangers ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reached = append(w.reached, from+" "+strings.Join(strangers, " "))
	return w.newErr
}

func (w *town) Met(_ context.Context, user, from string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.met = append(w.met, user+" "+from)
	return nil
}

func (w *town) Of(_ context.Context, groups []string) (map[string]im.Members, error) {
	w.asked.Add(1)
	if w.membersErr != nil {
		return nil, w.membersErr
	}
	all := map[string]im.Members{
		staff:  {Users: []string{ann, bob}},
		others: {Users: []string{bob}},
		quiet:  {Users: []string{ann, bob}, Muted: true, Staff: []string{bob}},
		slow:   {Users: []string{ann, bob}, Slow: 30, Staff: []string{bob}},
		choir:  {Users: []string{ann, bob}, MutedUntil: map[string]im.Time{ann: im.Now() + 1e9, bob: im.Now() - 1}},
	}
	out := map[string]im.Members{}
	for _, g := range groups {
		if m, ok := all[g]; ok {
			out[g] = m
		}
	}
	return out, nil
}

// desk gives places, one microsecond after another.
type desk struct {
	mu    sync.Mutex
	last  im.Time
	given map[string]im.PlaceResult
	fails map[im.Conversation]error
	calls [][]im.PlaceRequest
}

func (d *desk) Place(_ context.Context, reqs []im.PlaceRequest) []im.PlaceResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, reqs)
	out := make([]im.PlaceResult, len(reqs))
	for i, r := range reqs {
		key := fmt.Sprint(r.Conversation, r.From, r.ClientID)
		had, ok := d.given[key+r.Digest]
		switch {
		case d.fails[r.Conversation] != nil:
			out[i].Err = d.fails[r.Conversation]
		case ok:
			had.Again = true
			out[i] = had
		case d.given[key].ID != "":
			out[i].Err = im.Errorf(im.Conflict, "used")
		default:
			d.last++
			out[i].Place = im.Place{Time: d.last, ID: im.NewMessageID(d.last)}
			d.given[key], d.given[key+r.Digest] = out[i], out[i]
		}
	}
	return out
}

// book is a log in memory.
type book struct {
	mu      sync.Mutex
	written []event.Event
	fails   func(event.Event) error
	before  func() // called when something is to be written
}

func (b *book) Enqueue(_ context.Context, topic string, events []event.Event) func() []error {
	if b.before != nil {
		b.before()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := make([]error, len(events))
	for i, e := range events {
		if topic != event.TopicMessages {
			errs[i] = errors.New("to " + topic)
		} else if b.fails != nil {
			errs[i] = b.fails(e)
		}
		if errs[i] == nil {
			b.written = append(b.written, e)
		}
	}
	return func() []error { return errs }
}

type fixture struct {
	*ingest
	town  *town
	desk  *desk
	book  *book
	shelf *shelf
	purse *purse
	ring  *event.Keyring
}

// purse is the budgets of senders.
type purse struct {
	mu      sync.Mutex
	charged []im.Charge
	empty   map[string]bool
}

func (p *purse) Charge(_ context.Context, charges []im.Charge) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := make([]error, len(charges))
	for i, c := range charges {
		if p.empty[c.User] {
			errs[i] = &im.Error{Kind: im.Overloaded, Msg: "too many people", RetryAfter: time.Second}
			continue
		}
		p.charged = append(p.charged, c)
	}
	return errs
}

var noon = im.TimeOf(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))

func newFixture(t testing.TB) *fixture {
	t.Helper()
	ring, err := event.ParseKeyring("k:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{town: &town{}, desk: &desk{last: noon, given: map[string]im.PlaceResult{}}, book: &book{}, shelf: newShelf(), purse: &purse{}, ring: ring}
	f.ingest = &ingest{
		guard:  guard{relations: f.town, members: f.town, newcomers: f.town, policy: im.DirectOpen},
		files:  f.shelf,
		budget: f.purse,
		places: f.desk,
		log:    f.book,
		seal:   ring,
		window: time.Hour,
		now:    func() im.Time { return noon },
	}
	return f
}

func submitted(t testing.TB, s event.Submitted) event.Event {
	t.Helper()
	if s.At == 0 {
		s.At = noon
	}
	e, err := event.New(event.MessageSubmitted, "test", s.From, s)
	if err != nil {
		t.Fatal(err)
	}
	e.TraceParent = "trace of " + s.ClientID
	return e
}

func text(from, to, id, text string) event.Submitted {
	return event.Submitted{From: from, Device: "phone", Draft: im.Draft{ClientID: id, To: to, Text: text}}
}

func (f *fixture) send(t testing.TB, all ...event.Submitted) []fn.Reply[event.Placed] {
	t.Helper()
	events := make([]event.Event, len(all))
	for i, s := range all {
		events[i] = submitted(t, s)
	}
	return f.batch(t.Context(), events)
}

func TestWhoMaySendWhat(t *testing.T) {
	hello := func(to string) event.Submitted { return text(ann, to, "1", "hello") }
	at := func(d time.Duration) event.Submitted {
		s := hello("u:" + bob)
		s.At = noon + im.Time(d.Microseconds())
		return s
	}
	for _, tt := range []struct {
		name   string
		send   event.Submitted
		policy string
		want   error // nil is accepted
	}{
		{name: "to a user", send: hello("u:" + bob)},
		{name: "to the conversation with a user", send: hello(string(im.Direct(bob, ann)))},
		{name: "to a group one is in", send: hello("g:" + staff)},
		{name: "to a friend where only friends may", send: hello("u:" + dave), policy: im.DirectFriends},
		{name: "submitted by a clock that is a little ahead", send: at(maxAhead)},
		{name: "submitted as long ago as the window is", send: at(-time.Hour)},

		{name: "to a user that there is not", send: hello("u:" + nobody), want: im.NotFound},
		{name: "to a user with whom there is a block", send: hello("u:" + cleo), want: im.Denied},
		{name: "to a stranger where only friends may", send: hello("u:" + bob), policy: im.DirectFriends, want: im.Denied},
		{name: "to a group of friends where only friends may", send: hello("g:" + staff), policy: im.DirectFriends},
		{name: "to a group one is not in", send: hello("g:" + others), want: im.Denied},
		{name: "to a group that there is not", send: hello("g:" + noGroup), want: im.Denied},
		{name: "to a group in which all are muted", send: hello("g:" + quiet), want: im.Denied},
		{name: "to it as its owner or admin", send: text(bob, "g:"+quiet, "1", "hello")},
		{name: "to a group in which one is muted", send: hello("g:" + choir), want: im.Denied},
		{name: "to a group in which one was muted", send: text(bob, "g:"+choir, "1", "hello")},
		{name: "to a conversation of others", send: hello(string(im.Direct(bob, cleo))), want: im.Denied},
		{name: "to oneself", send: hello("u:" + ann), want: im.Invalid},
		{name: "to nowhere", send: hello("bob"), want: im.Invalid},
		{name: "without a text", send: text(ann, "u:"+bob, "1", ""), want: im.Invalid},
		{name: "without an id", send: text(ann, "u:"+bob, "", "hello"), want: im.Invalid},
		{name: "too long a text", send: text(ann, "u:"+bob, "1", strings.Repeat("x", im.MaxText+1)), want: im.TooLarge},
		{name: "from nobody", send: text("", "u:"+bob, "1", "hello"), want: im.Invalid},
		{name: "replayed when its place may be forgotten", send: at(-time.Hour - time.Microsecond), want: im.Invalid},
		{name: "from the future", send: at(maxAhead + time.Microsecond), want: im.Invalid},
		{name: "at no time", send: at(-time.Duration(noon-1) * 1000), want: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			if tt.policy != "" {
				f.guard.policy = tt.policy
			}
			got := f.send(t, tt.send)
			if len(got) != 1 || !errors.Is(got[0].Err, tt.want) {
				t.Fatalf("replies = %+v, want %v", got, tt.want)
			}
			if accepted := tt.want == nil; (len(f.book.written) == 1) != accepted || (got[0].Value.ID != "") != accepted {
				t.Errorf("reply %+v, written %d", got[0], len(f.book.written))
			}
			if tt.want != nil && len(f.desk.calls) > 0 {
				t.Error("it has a place all the same")
			}
		})
	}
}

func TestP6ABlockDoesNotSayWhoBlockedNorAGroupWhetherItIs(t *testing.T) {
	f := newFixture(t)
	got := f.send(t,
		text(ann, "u:"+cleo, "1", "hello"), text(cleo, "u:"+ann, "1", "hello"),
		text(ann, "g:"+others, "2", "hello"), text(ann, "g:"+noGroup, "3", "hello"))
	if a, b := got[0].Err.Error(), got[1].Err.Error(); a != b {
		t.Errorf("who is blocked reads %q, who blocked reads %q", a, b)
	}
	if a, b := got[2].Err.Error(), got[3].Err.Error(); a != b {
		t.Errorf("of a group: %q, of none: %q", a, b)
	}
}

func TestWhatIsWritten(t *testing.T) {
	f := newFixture(t)
	direct, group := text(ann, "u:"+bob, "1", "<hello> & \u2028"), text(ann, "g:"+staff, "2", "all")
	direct.ReplyTo = im.NewMessageID(noon)
	got := f.send(t, direct, group)
	for i, want := range []event.Accepted{
		{
			Message: im.Message{Conversation: im.Direct(ann, bob), From: ann, ClientID: "1", Kind: im.KindText, Text: direct.Text, ReplyTo: direct.ReplyTo},
			// both, the sender too
			Recipients: []string{ann, bob},
		},
		{Message: im.Message{Conversation: im.Group(staff), From: ann, ClientID: "2", Kind: im.KindText, Text: "all"}},
	} {
		e, r := f.book.written[i], got[i].Value
		want.Message.ID, want.Message.Time = r.ID, r.Time
		var data event.Accepted
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprintf("%+v", data), fmt.Sprintf("%+v", want); a != b {
			t.Errorf("written %s\nwant    %s", a, b)
		}
		if r.Conversation != want.Message.Conversation || r.Time <= noon {
			t.Errorf("reply %+v", r)
		}
		key := string(r.Conversation)
		if e.ID != r.ID || e.Type != event.MessageAccepted || e.Subject != key || e.PartitionKey != key || e.Time != r.Time {
			t.Errorf("event %+v", e)
		}
		if e.TraceParent != fmt.Sprint("trace of ", i+1) {
			t.Errorf("trace %q", e.TraceParent)
		}
		if err := f.ring.Verify(&e); err != nil {
			t.Error(err)
		}
	}
}

func TestP1NothingIsAcceptedBeforeTheLogAcknowledges(t *testing.T) {
	f := newFixture(t)
	acknowledge := make(chan struct{})
	writing := make(chan struct{})
	f.book.before = func() { close(writing); <-acknowledge }
	replies := make(chan []fn.Reply[event.Placed])
	go func() { replies <- f.send(t, text(ann, "u:"+bob, "1", "hello")) }()
	<-writing
	select {
	case r := <-replies:
		t.Errorf("answered %+v", r)
	default:
	}
	close(acknowledge)
	if r := <-replies; r[0].Err != nil {
		t.Error(r[0].Err)
	}

	f = newFixture(t)
	f.book.fails = func(e event.Event) error {
		if strings.Contains(string(e.Data), "second") {
			return down
		}
		return nil
	}
	got := f.send(t, text(ann, "u:"+bob, "1", "first"), text(ann, "u:"+bob, "2", "second"), text(ann, "u:"+bob, "3", "third"))
	if got[0].Err != nil || got[2].Err != nil || !errors.Is(got[1].Err, im.Unavailable) || got[1].Value.ID != "" {
		t.Errorf("replies = %+v", got)
	}
}

func TestP5ARetryIsWrittenAgainWithTheFirstIDAndTime(t *testing.T) {
	f := newFixture(t)
	hello := text(ann, "u:"+bob, "1", "hello")
	f.book.fails = func(event.Event) error { return down } // the first try may have been written all the same
	first := f.send(t, hello)
	if !errors.Is(first[0].Err, im.Unavailable) {
		t.Fatalf("first = %+v", first)
	}
	f.book.fails = nil
	second, third := f.send(t, hello), f.send(t, hello)
	if second[0].Err != nil || second[0].Value != third[0].Value || second[0].Value.ID == "" {
		t.Errorf("second = %+v, third = %+v", second, third)
	}
	if len(f.book.written) != 2 {
		t.Fatalf("written %d times, want 2", len(f.book.written))
	}
	a, b := f.book.written[0], f.book.written[1]
	if a.ID != b.ID || a.Time != b.Time || string(a.Data) != string(b.Data) || a.Seal != b.Seal {
		t.Errorf("written %+v, then %+v", a, b)
	}
}

func TestP5AnotherMessageUnderTheSameIDIsRefused(t *testing.T) {
	f := newFixture(t)
	got := f.send(t, text(ann, "u:"+bob, "1", "hello"), text(ann, "u:"+bob, "1", "good-bye"), text(bob, "u:"+ann, "1", "hello"))
	if got[0].Err != nil || !errors.Is(got[1].Err, im.Conflict) || got[2].Err != nil {
		t.Errorf("replies = %+v", got)
	}
	if len(f.book.written) != 2 {
		t.Errorf("%d are written", len(f.book.written))
	}
}

// Whatever goes wrong for a while, the places of those messages of a sender in
// a conversation that are accepted in the end are in the order of sending.
func TestP4ASenderKeepsTheirOrderWhenPartOfABatchFails(t *testing.T) {
	conversation := im.Direct(ann, bob)
	for _, tt := range []struct {
		name string
		fail func(*fixture)
		want string // what became of the messages of the conversation, and of another
	}{
		{"nothing", func(*fixture) {}, "++++"},
		{"relations are not known", func(f *fixture) { f.town.relationsErr = down }, "---+"},
		{"the conversation cannot be placed", func(f *fixture) { f.desk.fails = map[im.Conversation]error{conversation: down} }, "---+"},
		{"the first cannot be written", func(f *fixture) {
			f.book.fails = func(e event.Event) error {
				if strings.Contains(string(e.Data), `"client_id":"1"`) {
					return down
				}
				return nil
			}
		}, "-+++"},
		{"nothing can be written", func(f *fixture) { f.book.fails = func(event.Event) error { return down } }, "----"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			send := []event.Submitted{
				text(ann, "u:"+bob, "1", "one"), text(ann, "u:"+bob, "2", "two"), text(ann, "u:"+bob, "3", "three"),
				text(ann, "g:"+staff, "4", "another conversation"),
			}
			tt.fail(f)
			became := ""
			var again []event.Submitted
			for i, r := range f.send(t, send...) {
				if r.Err == nil {
					became += "+"
				} else {
					became += "-"
					again = append(again, send[i])
				}
			}
			if became != tt.want {
				t.Errorf("became %s, want %s", became, tt.want)
			}
			f.town.relationsErr, f.desk.fails, f.book.fails = nil, nil, nil
			for _, r := range f.send(t, again...) {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
			times := map[string]im.Time{}
			for _, e := range f.book.written {
				var a event.Accepted
				if err := json.Unmarshal(e.Data, &a); err != nil {
					t.Fatal(err)
				}
				times[a.Message.ClientID] = a.Message.Time
			}
			if len(times) != 4 || times["1"] >= times["2"] || times["2"] >= times["3"] {
				t.Errorf("places: %v", times)
			}
		})
	}
}

func TestABatchIsAnsweredOneByOneWithOneQuestionEach(t *testing.T) {
	f := newFixture(t)
	send := []event.Submitted{
		text(ann, "u:"+bob, "1", "good"), text(ann, "u:"+nobody, "2", "bad"), text(ann, "g:"+staff, "3", "good"),
		text(ann, "g:"+others, "4", "bad"), text(ann, "u:"+dave, "5", "good"), text(ann, "g:"+staff, "", "bad"),
	}
	events := []event.Event{{ID: "x", Type: event.MessageSubmitted, Data: []byte(`{"from":7}`)}, {ID: "y", Type: event.MessageSubmitted}}
	for _, s := range send {
		events = append(events, submitted(t, s))
	}
	got := f.batch(t.Context(), events)
	want := []im.Kind{im.Invalid, im.Invalid, "", im.NotFound, "", im.Denied, "", im.Invalid}
	for i, r := range got {
		if k := im.Kind(""); r.Err != nil {
			k = im.KindOf(r.Err)
			if k != want[i] {
				t.Errorf("%d: %v, want %v", i, r.Err, want[i])
			}
		} else if want[i] != "" {
			t.Errorf("%d: accepted, want %v", i, want[i])
		}
	}
	if f.town.asked.Load() != 2 || len(f.desk.calls) != 1 || len(f.desk.calls[0]) != 3 {
		t.Errorf("asked %d times who may, placed %v", f.town.asked.Load(), f.desk.calls)
	}
	if n := len(f.batch(t.Context(), nil)); n != 0 {
		t.Errorf("no events have %d answers", n)
	}
}

func TestWhatCannotBeToldIsNotAccepted(t *testing.T) {
	for name, fail := range map[string]func(*fixture){
		"relations": func(f *fixture) { f.town.relationsErr = down },
		"members":   func(f *fixture) { f.town.membersErr = down },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			fail(f)
			got := f.send(t, text(ann, "u:"+bob, "1", "hello"), text(ann, "g:"+staff, "2", "hello"))
			failed := map[string]bool{"relations": got[0].Err != nil, "members": got[1].Err != nil}
			if !maps.Equal(failed, map[string]bool{"relations": name == "relations", "members": name == "members"}) {
				t.Errorf("replies = %+v", got)
			}
			i := slices.IndexFunc(got, func(r fn.Reply[event.Placed]) bool { return r.Err != nil })
			if im.KindOf(got[i].Err) != im.Unavailable {
				t.Errorf("error = %v", got[i].Err)
			}
		})
	}
}

func TestP7MessagesToGroupsCostTheirSendersByRecipients(t *testing.T) {
	f := newFixture(t)
	got := f.send(t, text(ann, "g:"+staff, "1", "a"), text(ann, "u:"+bob, "2", "b"), text(bob, "g:"+staff, "3", "c"), text(ann, "g:"+others, "4", "d"))
	if got[0].Err != nil || got[1].Err != nil || got[2].Err != nil || !errors.Is(got[3].Err, im.Denied) {
		t.Fatalf("got %+v", got)
	}
	if want := []im.Charge{{User: ann, Recipients: 2}, {User: bob, Recipients: 2}}; !slices.Equal(f.purse.charged, want) {
		t.Errorf("charged are %v, want %v", f.purse.charged, want)
	}
	for _, r := range f.desk.calls[0] {
		if want := map[string]int{"1": 2, "2": 0, "3": 2}[r.ClientID]; r.Recipients != want {
			t.Errorf("message %s costs the group %d, want %d", r.ClientID, r.Recipients, want)
		}
	}
	f.purse.empty = map[string]bool{ann: true}
	places := len(f.desk.calls)
	got = f.send(t, text(ann, "g:"+staff, "5", "e"), text(ann, "g:"+staff, "6", "f"))
	if !errors.Is(got[0].Err, im.Overloaded) || !errors.Is(got[1].Err, im.Overloaded) || len(f.desk.calls) != places {
		t.Errorf("who has spent what they had got %+v", got)
	}
	if got = f.send(t, text(ann, "u:"+bob, "7", "g")); got[0].Err != nil {
		t.Errorf("a direct message: %v", got[0].Err)
	}
}

func TestASlowGroupIsSlowForAllButItsOwnerAndAdmins(t *testing.T) {
	f := newFixture(t)
	f.send(t, text(ann, "g:"+slow, "1", "a"), text(bob, "g:"+slow, "2", "b"), text(ann, "g:"+staff, "3", "c"))
	for _, r := range slices.Concat(f.desk.calls...) {
		if want := map[string]time.Duration{"1": 30 * time.Second}[r.ClientID]; r.Slow != want {
			t.Errorf("message %s waits %s, want %s", r.ClientID, r.Slow, want)
		}
	}
}
