package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres"
)

// past is a history in memory.
type past struct {
	changed []im.Message
	deleted []im.EntryKey
	errs    []error // of the calls to come; nil is none
	calls   int
}

func (p *past) fails() (err error) {
	p.calls++
	if len(p.errs) > 0 {
		err, p.errs = p.errs[0], p.errs[1:]
	}
	return err
}

func (p *past) ChangedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Message, error) {
	changed := make(map[im.EntryKey]im.Message)
	for _, k := range keys {
		for _, m := range p.changed {
			if m.ID == k.ID && m.Conversation == k.Conversation {
				changed[k] = m
			}
		}
	}
	return changed, p.fails()
}

func (p *past) DeletedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error) {
	deleted := make(map[im.EntryKey]bool)
	for _, k := range keys {
		for _, d := range p.deleted {
			if d == k {
				deleted[k] = true
			}
		}
	}
	return deleted, p.fails()
}

func TestAnOldMessageIsAppendedAsItIsNow(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	down := im.Errorf(im.Unavailable, "down")
	quiet := amending(1, direct, ann, nil)
	for _, tt := range []struct {
		name  string
		past  past
		held  []im.Entry
		batch []event.Event
		ann   string // inboxes: message@revision, quiet, shown or unread
		bob   string
		told  string
		errs  []im.Kind
	}{
		{
			name:  "one that nothing became of is as it came",
			batch: []event.Event{accepted(1, direct, ann)}, ann: "1@0s", bob: "1@0u", told: "1→a:1 b:1",
		},
		{
			name: "recalled", past: past{changed: []im.Message{recalled(1, direct, ann, 2)}},
			batch: []event.Event{accepted(1, direct, ann)}, ann: "1@2s", bob: "1@2s", told: "1→a:1 b:1",
		},
		{
			name: "edited", past: past{changed: []im.Message{edited(1, direct, ann, 1)}},
			batch: []event.Event{accepted(1, direct, ann), accepted(2, direct, ann)}, ann: "1@1s 2@0s", bob: "1@1u 2@0u", told: "1→a:1 b:1, 2→a:2 b:2",
		},
		{
			name: "for who has deleted it there is a stub", past: past{
				changed: []im.Message{edited(1, group, ann, 1)},
				deleted: []im.EntryKey{{User: ann, ID: mid(1), Conversation: group}, {User: cem, ID: mid(1), Conversation: group}},
			},
			batch: []event.Event{accepted(1, group, ann)}, ann: "1@1073741824q", bob: "1@1u", told: "1→b:1, 1→a:1 c:1",
		},
		{
			name: "what is there already is amended", past: past{changed: []im.Message{recalled(1, direct, ann, 1)}}, held: at(bob, 1),
			batch: []event.Event{accepted(1, direct, ann)}, ann: "1@1s", bob: "1@1s", told: "1→a:1 b:1",
		},
		{
			name:  "a history that is down fails it, and it comes again",
			past:  past{errs: []error{down}},
			batch: []event.Event{accepted(1, direct, ann)}, errs: []im.Kind{im.Unavailable},
		},
		{
			name:  "so does one that is down for who has deleted it",
			past:  past{errs: []error{nil, down}},
			batch: []event.Event{accepted(1, direct, ann)}, errs: []im.Kind{im.Unavailable},
		},
		{
			name:  "and after it was appended: nobody is told before it is settled",
			past:  past{errs: []error{nil, nil, down}},
			batch: []event.Event{accepted(1, direct, ann)}, ann: "1@0s", bob: "1@0u", errs: []im.Kind{im.Unavailable},
		},
		{
			name:  "what goes wrong there is no fault of the message",
			past:  past{errs: []error{im.Errorf(im.Invalid, "what is this")}},
			batch: []event.Event{accepted(1, direct, ann)}, errs: []im.Kind{im.Unavailable},
		},
		{
			name:  "of a quiet notice there is no history",
			past:  past{errs: []error{down}, changed: []im.Message{recalled(1, direct, ann, 1)}},
			batch: []event.Event{quiet}, ann: "1@0q", bob: "1@0q", told: "1→a:1 b:1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, o, r := &shelf{entries: slices.Clone(tt.held)}, &outbox{}, &roster{groups: map[string][]string{staff: {ann, bob, cem}}}
			for i := range s.entries {
				s.entries[i].Conversation = direct
			}
			err := newPersister(s, &notes{}, r, &tt.past, o, seal, slog.New(slog.DiscardHandler)).persist(t.Context(), tt.batch)
			fntest.Kinds(t, err, len(tt.batch), tt.errs)
			if a, b := shown(s, ann), shown(s, bob); a != tt.ann || b != tt.bob {
				t.Errorf("the inboxes are %q and %q, want %q and %q", a, b, tt.ann, tt.bob)
			}
			if got := told(t, o.events); got != tt.told {
				t.Errorf("told %q, want %q", got, tt.told)
			}
			// What is pushed is what is there.
			for _, e := range o.events {
				var a event.Appended
				if err := json.Unmarshal(e.Data, &a); err != nil {
					t.Fatal(err)
				}
				for _, to := range a.Entries {
					entries, _ := s.After(t.Context(), to.User, to.Seq-1, 1)
					if string(entries[0].Message) != string(a.Message) {
						t.Errorf("%s is told %s and has %s", to.User, a.Message, entries[0].Message)
					}
				}
			}
		})
	}
}

func TestAFreshMessageCostsNoLookIntoHistory(t *testing.T) {
	e := accepted(1, im.Direct(ann, bob), ann)
	e.Data = json.RawMessage(strings.ReplaceAll(string(e.Data), mid(1), im.NewMessageID(im.Now())))
	s, h := &shelf{}, &past{}
	err := newPersister(s, &notes{}, &roster{}, h, &outbox{}, seal, slog.New(slog.DiscardHandler)).persist(t.Context(), []event.Event{e})
	if err != nil || len(s.entries) != 2 || h.calls != 0 {
		t.Errorf("%d entries, %d looks into history, %v", len(s.entries), h.calls, err)
	}
}

// A message is replayed, or sent again under its id, after it was recalled,
// edited or deleted: by the notice of that, which came first, nobody had it.
func TestP6WhatWasTakenBackDoesNotComeBack(t *testing.T) {
	for _, store := range []string{"postgres", "mongodb"} {
		t.Run(store, func(t *testing.T) { comesBack(t, store) })
	}
}

func comesBack(t *testing.T, store string) {
	ctx := t.Context()
	vars := down(t)
	vars["INBOX_STORE"], vars["POSTGRES_URL"], vars["REDIS_URL"] = store, imtest.Migrated(t, postgres.Migrate), imtest.Redis(t)
	vars["KAFKA_BROKERS"] = strings.Join(imtest.Kafka(t), ",")
	if store == "mongodb" {
		vars["MONGODB_URL"] = imtest.Mongo(t)
	}
	env := imtest.Env(t, vars)
	db, err := pgtest.Open(ctx, env)
	if err := errors.Join(err, kafka.EnsureTopics(ctx, env)); err != nil {
		t.Fatal(err)
	}
	keys, err := fn.Keyring(env)
	if err != nil {
		t.Fatal(err)
	}
	h, err := fn.Mount(ctx, env, Persist)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()

	a, b := im.NewID(), im.NewID()
	c := im.Direct(a, b)
	hand := func(accepted event.Accepted) {
		t.Helper()
		e, err := event.New(event.MessageAccepted, "/test", string(c), accepted)
		if err != nil {
			t.Fatal(err)
		}
		keys.Sign(&e)
		res, err := fn.Post(ctx, fn.NewHTTPClient(20*time.Second), srv.URL+"/"+Persist.Name, []event.Event{e})
		if err != nil || res[0].Status != http.StatusNoContent {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	past := im.Now() - im.Time(time.Hour/time.Microsecond)
	var all []im.Message
	say := func(text string) im.Message {
		at := past + im.Time(len(all))
		all = append(all, im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: a, ClientID: "c", Kind: im.KindText, Text: text})
		return all[len(all)-1]
	}
	plain, gone, other, own, late := say("plain"), say("to be recalled"), say("to be edited"), say("to be deleted"), say("not in history")
	if err := db.AppendHistory(ctx, all[:4]); err != nil {
		t.Fatal(err)
	}
	isGone, isOther := gone, other
	isGone.Text, isGone.Recalled, isGone.Revision = "", true, 1
	isOther.Text, isOther.Edited, isOther.Revision = "edited", im.Now(), 1
	_, _, err = db.Change(ctx, func(ctx context.Context, tx *pgtest.Tx) error {
		_, err := tx.DeleteMessages(ctx, b, c, []string{own.ID})
		return errors.Join(err, tx.AmendMessage(ctx, isGone), tx.AmendMessage(ctx, isOther))
	}, func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}

	for _, amended := range []im.Message{isGone, isOther, own.Deleted()} {
		at := im.Now()
		n := im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: b, ClientID: "n", Kind: im.KindNotice, Data: json.RawMessage("{}")}
		to := []string{a, b}
		if amended.Kind == im.KindDeleted {
			to = []string{b}
		}
		hand(event.Accepted{Message: n, Recipients: to, Quiet: true, Amended: []im.Message{amended}})
	}
	for range 2 {
		for _, m := range all {
			hand(event.Accepted{Message: m})
		}
	}

	type seen struct {
		text     string
		kind     string
		revision int
		class    im.Class
	}
	want := map[im.EntryKey]seen{}
	for _, u := range []string{a, b} {
		class := im.ClassShown
		if u == b {
			class = im.ClassUnread
		}
		for _, m := range []im.Message{plain, isGone, isOther, own, late} {
			w := seen{m.Text, m.Kind, m.Revision, class}
			switch {
			case m.Recalled:
				w.class = im.ClassShown
			case m.ID == own.ID && u == b:
				w = seen{"", im.KindDeleted, own.Deleted().Revision, im.ClassQuiet}
			}
			want[im.EntryKey{User: u, ID: m.ID, Conversation: c}] = w
		}
	}
	got, err := opened(t, env).Get(ctx, slices.Collect(maps.Keys(want)))
	if err != nil {
		t.Fatal(err)
	}
	for k, w := range want {
		var m im.Message
		if err := json.Unmarshal(got[k].Message, &m); err != nil {
			t.Errorf("%s has %q of %s: %v", k.User, got[k].Message, k.ID, err)
			continue
		}
		if g := (seen{m.Text, m.Kind, got[k].Revision, got[k].Class}); g != w || m.Revision != w.revision {
			t.Errorf("%s has %+v, want %+v", k.User, g, w)
		}
	}

	told := 0
	err = kafka.Scan(ctx, env, event.TopicDeliveries, nil, func(r kafka.Record) error {
		var e event.Appended
		var m im.Message
		if err := errors.Join(json.Unmarshal(r.Value, &e), json.Unmarshal(e.Message, &m)); err != nil || m.Conversation != c || m.Kind == im.KindNotice {
			return err
		}
		for _, to := range e.Entries {
			k := im.EntryKey{User: to.User, ID: m.ID, Conversation: c}
			if told++; m.Text != want[k].text || m.Kind != want[k].kind || to.Seq != got[k].Seq {
				t.Errorf("%s is told %s at %d, and has %+v at %d", to.User, e.Message, to.Seq, want[k], got[k].Seq)
			}
		}
		return nil
	})
	if err != nil || told != 2*len(want) {
		t.Errorf("told %d times, want %d; %v", told, 2*len(want), err)
	}
}
