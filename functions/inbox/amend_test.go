package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
)

// amending returns the event of the n-th message, a quiet notice that amends others.
func amending(n int, c im.Conversation, from string, recipients []string, amended ...im.Message) event.Event {
	m := im.Message{ID: mid(n), Conversation: c, Time: im.Time(n), From: from, ClientID: "c", Kind: im.KindNotice}
	data, err := json.Marshal(event.Accepted{Message: m, Recipients: recipients, Quiet: true, Amended: amended})
	if err != nil {
		panic(err)
	}
	return event.Event{ID: m.ID, Type: event.MessageAccepted, Subject: string(c), PartitionKey: string(c), Data: data, TraceParent: "trace " + m.ID}
}

// edited returns what the n-th message has become.
func edited(n int, c im.Conversation, from string, revision int) im.Message {
	return im.Message{ID: mid(n), Conversation: c, From: from, Kind: im.KindText, Text: fmt.Sprint("revision ", revision), Revision: revision}
}

func recalled(n int, c im.Conversation, from string, revision int) im.Message {
	m := edited(n, c, from, revision)
	m.Text, m.Recalled = "", true
	return m
}

func deleted(n int, c im.Conversation, from string) im.Message {
	return im.Message{ID: mid(n), Conversation: c, From: from, Kind: im.KindDeleted, Revision: 1 << 30}
}

// shown writes down an inbox: message@revision and what it is to the list.
func shown(s *shelf, user string) string {
	entries, _ := s.After(context.Background(), user, 0, 100)
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d@%d%c", numberOf(e.ID), e.Revision, "qsu"[e.Class]))
	}
	return strings.Join(out, " ")
}

func TestAmend(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	down := im.Errorf(im.Unavailable, "down")
	for _, tt := range []struct {
		name   string
		amend  []error
		batch  []event.Event
		ann    string // inboxes: message@revision, quiet, shown or unread
		bob    string
		errs   []im.Kind
		events int // deliveries
	}{
		{
			name:  "a message is unread to others and shown to its sender; a notice that is quiet is neither",
			batch: []event.Event{accepted(1, direct, ann), accepted(2, group, bob), amending(3, direct, ann, nil)},
			ann:   "1@0s 2@0u 3@0q", bob: "1@0u 2@0s 3@0q", events: 3,
		},
		{
			name:  "an edited message is as unread as it was",
			batch: []event.Event{accepted(1, direct, ann), amending(2, direct, ann, nil, edited(1, direct, ann, 1))},
			ann:   "1@1s 2@0q", bob: "1@1u 2@0q", events: 2,
		},
		{
			name:  "a recalled one is not unread any more",
			batch: []event.Event{accepted(1, direct, ann), amending(2, direct, ann, nil, recalled(1, direct, ann, 1))},
			ann:   "1@1s 2@0q", bob: "1@1s 2@0q", events: 2,
		},
		{
			name:  "one that somebody has deleted for themselves is in nobody else's way",
			batch: []event.Event{accepted(1, direct, ann), amending(2, direct, bob, []string{bob}, deleted(1, direct, ann))},
			ann:   "1@0s", bob: "1@1073741824q 2@0q", events: 2,
		},
		{
			name: "the greatest revision stays, in whatever order they come and come again",
			batch: []event.Event{
				accepted(1, direct, ann),
				amending(4, direct, ann, nil, edited(1, direct, ann, 3)),
				amending(2, direct, ann, nil, edited(1, direct, ann, 1)),
				accepted(1, direct, ann),
				amending(2, direct, ann, nil, edited(1, direct, ann, 1)),
				amending(3, direct, ann, nil, edited(1, direct, ann, 2)),
			},
			ann: "1@3s 4@0q 2@0q 3@0q", bob: "1@3u 4@0q 2@0q 3@0q", events: 6,
		},
		{
			name: "several at once, of those that are there",
			batch: []event.Event{
				accepted(1, direct, ann), accepted(2, direct, bob),
				amending(3, direct, ann, []string{ann}, deleted(1, direct, ann), deleted(2, direct, bob), deleted(9, direct, bob)),
			},
			ann: "1@1073741824q 2@1073741824q 3@0q", bob: "1@0u 2@0s", events: 3,
		},
		{
			name:  "a group is amended as it is now",
			batch: []event.Event{accepted(1, group, ann), amending(2, group, cem, nil, recalled(1, group, ann, 1))},
			ann:   "1@1s 2@0q", bob: "1@1s 2@0q", events: 2,
		},
		{
			name:  "what cannot be amended is not told, and comes again with what follows",
			amend: []error{down},
			batch: []event.Event{accepted(1, direct, ann), amending(2, direct, ann, nil, edited(1, direct, ann, 1)), accepted(3, direct, ann)},
			ann:   "1@0s", bob: "1@0u", errs: []im.Kind{"", im.Unavailable, im.Unavailable}, events: 1,
		},
		{
			name:  "what can never be amended is given up alone",
			amend: []error{im.Errorf(im.Invalid, "no"), im.Errorf(im.Invalid, "no")},
			batch: []event.Event{accepted(1, direct, ann), amending(2, direct, ann, nil, edited(1, direct, ann, 1)), accepted(3, direct, ann)},
			ann:   "1@0s 3@0s", bob: "1@0u 3@0u", errs: []im.Kind{"", im.Invalid, ""}, events: 2,
		},
		{
			name: "what is amended is checked as it was when it was sent",
			batch: []event.Event{
				accepted(1, direct, ann),
				amending(2, direct, ann, nil, edited(1, direct, ann, 0)),
				amending(2, direct, ann, nil, edited(1, direct, ann, -1)),
				amending(2, direct, ann, nil, edited(1, direct, ann, 1<<31)),
				amending(2, direct, ann, nil, edited(1, group, ann, 1)),
				amending(2, direct, ann, nil, edited(1, direct, "nobody", 1)),
				amending(2, direct, ann, nil, im.Message{ID: "1", Conversation: direct, From: ann, Revision: 1}),
				amending(2, direct, ann, nil, im.Message{ID: mid(1), Conversation: direct, From: ann, Revision: 1, Text: strings.Repeat("x", maxMessage)}),
				amending(2, direct, ann, nil, slices.Repeat([]im.Message{edited(1, direct, ann, 1)}, maxAmended+1)...),
				raw(`{"message":{"id":"` + mid(2) + `","conversation":"` + string(direct) + `","from":"` + ann + `"},"amended":[null]}`),
				raw(`{"message":{"id":"` + mid(2) + `","conversation":"` + string(direct) + `","from":"` + ann + `"},"amended":{}}`),
			},
			ann: "1@0s", bob: "1@0u", events: 1,
			errs: []im.Kind{"", im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.TooLarge, im.Invalid, im.Invalid, im.Invalid},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, o := &shelf{amend: tt.amend}, &outbox{}
			r := &roster{groups: map[string][]string{staff: {ann, bob, cem}}}
			err := newPersister(s, &notes{}, r, &past{}, o, seal, slog.New(slog.DiscardHandler)).persist(t.Context(), tt.batch)
			fntest.Kinds(t, err, len(tt.batch), tt.errs)
			if a, b := shown(s, ann), shown(s, bob); a != tt.ann || b != tt.bob {
				t.Errorf("the inboxes are %q and %q, want %q and %q", a, b, tt.ann, tt.bob)
			}
			if len(o.events) != tt.events {
				t.Errorf("%d deliveries, want %d", len(o.events), tt.events)
			}
		})
	}
}

func TestAmendmentsAreMadeInBoundedParts(t *testing.T) {
	direct := im.Direct(ann, bob)
	for _, tt := range []struct {
		name  string
		rows  int
		calls string
	}{
		{"all at once", 100, "amend 6"},
		{"so many rows", 4, "amend 4, amend 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{}
			p := newPersister(s, &notes{}, &roster{}, &past{}, &outbox{}, seal, slog.New(slog.DiscardHandler))
			p.appender.rows = tt.rows
			var amended []im.Message
			for i := range 3 {
				amended = append(amended, edited(i+1, direct, ann, 1))
			}
			if err := p.persist(t.Context(), []event.Event{amending(9, direct, ann, nil, amended...)}); err != nil {
				t.Fatal(err)
			}
			var calls []string
			for _, c := range s.calls {
				if strings.HasPrefix(c, "amend") {
					calls = append(calls, c)
				}
			}
			if got := strings.Join(calls, ", "); got != tt.calls {
				t.Errorf("calls = %q, want %q", got, tt.calls)
			}
		})
	}

	t.Run("so many bytes for many", func(t *testing.T) {
		s := &shelf{}
		p := newPersister(s, &notes{}, &roster{}, &past{}, &outbox{}, seal, slog.New(slog.DiscardHandler))
		var to []string
		for range 100 {
			to = append(to, im.NewID())
		}
		m := edited(1, direct, ann, 1)
		m.Text = strings.Repeat("x", maxMessage-1000)
		e := amending(2, direct, ann, to, m)
		if err := p.persist(t.Context(), []event.Event{e}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range s.calls {
			if strings.HasPrefix(c, "amend") {
				n++
			}
		}
		if least := 101 * len(m.Text) / maxInsertBytes; n <= least || n > least+2 {
			t.Errorf("%d calls for %d messages of %d bytes", n, len(to)+1, len(m.Text))
		}
	})
}
