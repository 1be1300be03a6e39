package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
)

// roster knows the members of groups.
type roster struct {
	groups map[string][]string
	err    error
	asked  int
}

func (r *roster) Members(_ context.Context, group string) ([]string, error) {
	r.asked++
	if r.err != nil {
		return nil, r.err
	}
	members, ok := r.groups[group]
	if !ok {
		return nil, im.Errorf(im.NotFound, "no such group")
	}
	return members, nil
}

// outbox is a publisher that keeps what is published.
type outbox struct {
	events []event.Event
	calls  int
	fails  map[int]error // by call, from 1 on
	refuse string        // id of an event that can never be published
}

func (o *outbox) Publish(_ context.Context, topic string, events []event.Event) error {
	o.calls++
	if topic != event.TopicDeliveries {
		return fmt.Errorf("published to %s", topic)
	}
	if err := o.fails[o.calls]; err != nil {
		return err
	}
	for _, e := range events {
		if e.ID == o.refuse {
			return im.Errorf(im.TooLarge, "too large")
		}
	}
	o.events = append(o.events, events...)
	return nil
}

const (
	staff = "ssssssssssssssss"
	gone  = "zzzzzzzzzzzzzzzz"
)

// accepted returns the event of the n-th message.
func accepted(n int, c im.Conversation, from string, recipients ...string) event.Event {
	m := im.Message{ID: mid(n), Conversation: c, Time: im.Time(n), From: from, ClientID: "c", Kind: im.KindText, Text: fmt.Sprint("text ", n)}
	data, err := json.Marshal(event.Accepted{Message: m, Recipients: recipients})
	if err != nil {
		panic(err)
	}
	return event.Event{ID: m.ID, Type: event.MessageAccepted, Subject: string(c), PartitionKey: string(c), Data: data, TraceParent: "trace " + m.ID}
}

// raw is an accepted event whose data is as given.
func raw(data string) event.Event {
	return event.Event{ID: "x", Type: event.MessageAccepted, Data: []byte(data)}
}

func spoilt(n int, old, new string) event.Event {
	e := accepted(n, im.Direct(ann, bob), ann)
	e.Data = json.RawMessage(strings.Replace(string(e.Data), old, new, 1))
	return e
}

func TestPersist(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	down := im.Errorf(im.Unavailable, "down")
	for _, tt := range []struct {
		name    string
		held    []im.Entry
		members error
		insert  []error
		publish map[int]error
		refuse  string
		rows    int
		batch   []event.Event
		want    map[string][]int // messages by user, in the order of seq
		errs    []im.Kind        // of each event; nil: all are done
		told    string           // deliveries: id→user:seq…
	}{
		{
			name:  "a direct message goes to both, wherever its recipients are named",
			batch: []event.Event{accepted(1, direct, ann, ann, bob), accepted(2, direct, bob)},
			want:  map[string][]int{ann: {1, 2}, bob: {1, 2}},
			told:  "1→a:1 b:1, 2→a:2 b:2",
		},
		{
			name:  "a message to a group goes to its members",
			batch: []event.Event{accepted(1, group, ann)},
			want:  map[string][]int{ann: {1}, bob: {1}, cem: {1}},
			told:  "1→a:1 b:1 c:1",
		},
		{
			name:  "a sender who has left the group has their message all the same",
			batch: []event.Event{accepted(1, group, "dddddddddddddddd")},
			want:  map[string][]int{ann: {1}, "dddddddddddddddd": {1}},
			told:  "1→a:1 b:1 c:1 d:1",
		},
		{
			name:  "a message to a group that is gone stays with its sender",
			batch: []event.Event{accepted(1, im.Group(gone), ann)},
			want:  map[string][]int{ann: {1}, bob: nil},
			told:  "1→a:1",
		},
		{
			name:  "recipients that are named go before the members of a group",
			batch: []event.Event{accepted(1, group, ann, cem, cem)},
			want:  map[string][]int{ann: {1}, bob: nil, cem: {1}},
			told:  "1→a:1 c:1",
		},
		{
			name:  "what comes again is told again, and kept once",
			held:  with(at(ann, 7, 1), at(bob, 1)),
			batch: []event.Event{accepted(1, direct, ann), accepted(1, direct, ann), accepted(2, direct, ann)},
			want:  map[string][]int{ann: {7, 1, 2}, bob: {1, 2}},
			told:  "1→a:2 b:1, 1→a:2 b:1, 2→a:3 b:2",
		},
		{
			name: "what cannot be kept is refused by itself",
			batch: []event.Event{
				raw(`not json`),
				raw(`{"message":7}`),
				raw(`{}`),
				accepted(1, direct, ann),
				spoilt(2, `"id":"`+mid(2), `"id":"7`),
				spoilt(2, `"from":"`+ann, `"from":"`),
				spoilt(2, `"from":"`+ann, `"from":"`+ann+`\",\"x\":\"`),
				spoilt(2, "text 2", "text \xff"),
				spoilt(2, "text 2", strings.Repeat("x", maxMessage)),
				accepted(2, "d:a:b", ann),
				accepted(2, direct, ann, "nobody"),
				accepted(2, direct, ann, slices.Repeat([]string{ann}, maxRecipients+1)...),
				accepted(3, direct, bob),
			},
			want: map[string][]int{ann: {1, 3}, bob: {1, 3}},
			errs: []im.Kind{im.Invalid, im.Invalid, im.Invalid, "", im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.TooLarge, im.Invalid, im.Invalid, im.Invalid, ""},
			told: "1→a:1 b:1, 3→a:2 b:2",
		},
		{
			name:   "a store that is down fails them all",
			insert: []error{down},
			batch:  []event.Event{accepted(1, direct, ann), raw(`{}`), accepted(2, direct, ann)},
			want:   map[string][]int{ann: nil},
			errs:   []im.Kind{im.Unavailable, im.Invalid, im.Unavailable},
		},
		{
			name:    "members that cannot be read fail their message and what follows, in order",
			members: down,
			batch:   []event.Event{accepted(1, direct, ann), accepted(2, group, ann), accepted(3, direct, ann)},
			want:    map[string][]int{ann: {1}, bob: {1}},
			errs:    []im.Kind{"", im.Unavailable, im.Unavailable},
			told:    "1→a:1 b:1",
		},
		{
			name:    "members that cannot be read are no fault of the message",
			members: im.Errorf(im.Conflict, "what is this"),
			batch:   []event.Event{accepted(1, group, ann)},
			want:    map[string][]int{ann: nil},
			errs:    []im.Kind{im.Unavailable},
		},
		{
			name:    "a broker that is down fails them, kept as they are",
			publish: map[int]error{1: down},
			batch:   []event.Event{accepted(1, direct, ann)},
			want:    map[string][]int{ann: {1}, bob: {1}},
			errs:    []im.Kind{im.Unavailable},
		},
		{
			name:    "a large batch is done in parts, up to the first that fails",
			rows:    4,
			publish: map[int]error{2: down},
			batch:   []event.Event{accepted(1, direct, ann), accepted(2, direct, ann), accepted(3, direct, ann), accepted(4, direct, ann), accepted(5, direct, ann)},
			want:    map[string][]int{ann: {1, 2, 3, 4}, bob: {1, 2, 3, 4}},
			errs:    []im.Kind{"", "", im.Unavailable, im.Unavailable, im.Unavailable},
			told:    "1→a:1 b:1, 2→a:2 b:2",
		},
		{
			name:   "an entry that the store can never take is given up alone",
			insert: []error{im.Errorf(im.Invalid, "no"), nil, im.Errorf(im.Invalid, "no")},
			batch:  []event.Event{accepted(1, direct, ann), accepted(2, direct, ann), accepted(3, direct, ann)},
			want:   map[string][]int{ann: {1, 3}, bob: {1, 3}},
			errs:   []im.Kind{"", im.Invalid, ""},
			told:   "1→a:1 b:1, 3→a:2 b:2",
		},
		{
			name:   "and so is a delivery that can never be published",
			refuse: mid(2),
			batch:  []event.Event{accepted(1, direct, ann), accepted(2, direct, ann), accepted(3, direct, ann)},
			want:   map[string][]int{ann: {1, 2, 3}, bob: {1, 2, 3}},
			errs:   []im.Kind{"", im.TooLarge, ""},
			told:   "1→a:1 b:1, 3→a:3 b:3",
		},
		{
			name:   "a store that goes down while one is looked for fails the rest",
			insert: []error{im.Errorf(im.Invalid, "no"), nil, down},
			batch:  []event.Event{accepted(1, direct, ann), accepted(2, direct, ann), accepted(3, direct, ann)},
			want:   map[string][]int{ann: {1}, bob: {1}},
			errs:   []im.Kind{"", im.Unavailable, im.Unavailable},
			told:   "1→a:1 b:1",
		},
		{name: "nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{entries: slices.Clone(tt.held), insert: tt.insert}
			for i := range s.entries {
				s.entries[i].Conversation = direct
			}
			r := &roster{groups: map[string][]string{staff: {ann, bob, cem}}, err: tt.members}
			o := &outbox{fails: tt.publish, refuse: tt.refuse}
			p := newPersister(s, &notes{}, r, &past{}, o, seal, slog.New(slog.DiscardHandler))
			if tt.rows > 0 {
				p.rows = tt.rows
			}
			err := p.persist(t.Context(), tt.batch)
			fntest.Kinds(t, err, len(tt.batch), tt.errs)
			for user, want := range tt.want {
				entries, _ := s.After(t.Context(), user, 0, 100)
				var got []int
				for _, e := range entries {
					got = append(got, numberOf(e.ID))
				}
				if !slices.Equal(got, want) {
					t.Errorf("the inbox of %s holds %v, want %v", user, got, want)
				}
			}
			if got := told(t, o.events); got != tt.told {
				t.Errorf("told %q, want %q", got, tt.told)
			}
		})
	}
}

func seal(e *event.Event) { e.Seal = "sealed " + e.ID }

// numberOf returns the n of mid(n), without the chunk's number.
func numberOf(id string) (n int) {
	fmt.Sscanf(id[24:36], "%d", &n)
	return n
}

// told writes deliveries down for comparison, and checks what all of them have.
func told(t *testing.T, events []event.Event) string {
	t.Helper()
	var out []string
	for _, e := range events {
		var a event.Appended
		var m im.Message
		if err := errors.Join(json.Unmarshal(e.Data, &a), json.Unmarshal(a.Message, &m)); err != nil {
			t.Fatalf("a delivery of %s: %v", e.Data, err)
		}
		if e.Type != event.InboxAppended || e.Subject != string(m.Conversation) || e.PartitionKey != string(m.Conversation) ||
			e.Seal != "sealed "+e.ID || e.Check() != nil || e.TraceParent != "trace "+m.ID {
			t.Errorf("delivery = %+v", e)
		}
		s := fmt.Sprintf("%d→", numberOf(m.ID))
		for i, to := range a.Entries {
			if i > 0 {
				s += " "
			}
			s += fmt.Sprintf("%.1s:%d", to.User, to.Seq)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestDeliveriesOfALargeGroup(t *testing.T) {
	var all []string
	for i := range im.MaxGroup {
		all = append(all, fmt.Sprintf("user%012d", i))
	}
	seqs := make(map[im.EntryKey]int64)
	for i, u := range all {
		seqs[im.EntryKey{User: u, ID: mid(1), Conversation: im.Group(staff)}] = int64(i + 1)
	}
	j := job{content: content{id: mid(1), conversation: im.Group(staff), from: ann, json: json.RawMessage(`{"text":"x"}`)}, recipients: all}

	var got []string
	for n, e := range deliveries(j, seqs, seal) {
		want := mid(1)
		if n > 0 {
			want += fmt.Sprint(".", n)
		}
		if e.ID != want {
			t.Errorf("chunk %d has id %s, want %s", n, e.ID, want)
		}
		var a event.Appended
		if err := json.Unmarshal(e.Data, &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Entries) > event.MaxRecipients {
			t.Errorf("chunk %d has %d recipients", n, len(a.Entries))
		}
		for _, to := range a.Entries {
			if to.Seq != seqs[im.EntryKey{User: to.User, ID: mid(1), Conversation: im.Group(staff)}] {
				t.Errorf("%s is told %d", to.User, to.Seq)
			}
			got = append(got, to.User)
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d recipients are told, want %d", len(got), len(all))
	}
}

func TestMembersAreReadOncePerBatchAndNotChanged(t *testing.T) {
	list := make([]string, 2, 10) // room behind, in which nobody may write
	copy(list, []string{ann, bob})
	r := &roster{groups: map[string][]string{staff: list}}
	p := newPersister(&shelf{}, &notes{}, r, &past{}, &outbox{}, seal, slog.New(slog.DiscardHandler))
	batch := []event.Event{accepted(1, im.Group(staff), cem), accepted(2, im.Group(staff), ann)}
	if err := p.persist(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if r.asked != 1 {
		t.Errorf("the members were read %d times", r.asked)
	}
	if full := list[:3]; full[2] != "" || !slices.Equal(list, []string{ann, bob}) {
		t.Errorf("the list has become %v", full)
	}
}

func TestTheMessageIsPassedOnAsItCame(t *testing.T) {
	e := accepted(1, im.Direct(ann, bob), ann)
	odd := strings.Replace(string(e.Data), `"text":"text 1"`, `"text":"\u00e9 <b> é",  "later":{"b":1.50,"a":[ ]}`, 1)
	e.Data = json.RawMessage(odd)
	var want struct{ Message json.RawMessage }
	if err := json.Unmarshal(e.Data, &want); err != nil {
		t.Fatal(err)
	}
	s, o := &shelf{}, &outbox{}
	if err := newPersister(s, &notes{}, &roster{}, &past{}, o, seal, slog.New(slog.DiscardHandler)).persist(t.Context(), []event.Event{e}); err != nil {
		t.Fatal(err)
	}
	var told event.Appended
	if err := json.Unmarshal(o.events[0].Data, &told); err != nil {
		t.Fatal(err)
	}
	if string(told.Message) != string(want.Message) || string(s.entries[0].Message) != string(want.Message) {
		t.Errorf("told %s\nkept %s\nwant %s", told.Message, s.entries[0].Message, want.Message)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []event.Event{
		accepted(1, im.Direct(ann, bob), ann, ann, bob),
		accepted(2, im.Group(staff), ann),
		raw(`{"message":{"id":"` + mid(1) + `","conversation":"g:` + staff + `","from":"` + ann + `"}}`),
		raw(`{"message":null,"recipients":null}`),
	} {
		f.Add([]byte(e.Data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := event.Event{Data: data}
		j, err := decode(&e)
		if err != nil {
			if im.KindOf(err).Transient() {
				t.Errorf("bad data comes again for ever: %v", err)
			}
			return
		}
		// What is told of it has to be JSON, whatever came in.
		j.recipients = append(j.recipients, j.from)
		for _, e := range deliveries(j, nil, seal) {
			var a event.Appended
			if err := json.Unmarshal(e.Data, &a); err != nil || len(a.Entries) != min(len(j.recipients), event.MaxRecipients) {
				t.Errorf("%s: %v", e.Data, err)
			}
		}
	})
}

func TestP7ABatchComesToSoMuchAndTheRestComesAgain(t *testing.T) {
	group, direct := im.Group(staff), im.Direct(ann, bob)
	members := &roster{groups: map[string][]string{staff: {ann, bob, cem}}}
	p := newPersister(&shelf{}, &notes{}, members, &past{}, &outbox{}, seal, slog.New(slog.DiscardHandler))
	first := accepted(1, group, ann)
	j, err := decode(&first)
	if err != nil {
		t.Fatal(err)
	}
	p.work = 2 * 3 * (rowWork + len(j.json))
	batch := []event.Event{first, accepted(2, direct, ann), accepted(3, group, ann), accepted(4, direct, ann), accepted(5, group, ann)}
	for _, want := range []int{2, 2, 1} {
		err := p.persist(t.Context(), batch)
		each, _ := err.(fn.Each)
		done := 0
		for done < len(batch) && (err == nil || each[done] == nil) {
			done++
		}
		if done != want {
			t.Fatalf("%d of %d were done, want %d", done, len(batch), want)
		}
		for i := done; i < len(batch); i++ {
			if im.KindOf(each[i]) != im.Overloaded {
				t.Errorf("message %d after what is enough: %v", i, each[i])
			}
		}
		batch = batch[done:]
	}
	p.work = 1 // one message that is more than that is done all the same
	if err := p.persist(t.Context(), []event.Event{accepted(6, group, ann)}); err != nil {
		t.Error(err)
	}
}
