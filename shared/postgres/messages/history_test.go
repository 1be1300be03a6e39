package messages_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/pgtest"
	"github.com/tidings-im/tidings/shared/words"
)

func TestHistory(t *testing.T) {
	db := pgtest.Fresh(t)
	ctx := t.Context()
	ann, bob := im.NewID(), im.NewID()
	c := im.Direct(ann, bob)
	now := im.Now()

	// Some share a time, some are years apart, in partitions and out of them.
	var all []im.Message
	for i, d := range []time.Duration{0, 0, 0, 1, 2, 3, time.Hour / time.Microsecond, 40 * 24 * time.Hour / time.Microsecond, 70 * 24 * time.Hour / time.Microsecond, 3000 * 24 * time.Hour / time.Microsecond} {
		all = append(all, pgtest.Said(c, ann, now+im.Time(d), fmt.Sprint("message ", i)))
	}
	all = append(all, pgtest.Said(c, bob, im.TimeOf(time.Date(2020, 1, 1, 0, 0, 0, 1000, time.UTC)), "old"))
	all[1].ReplyTo = all[0].ID
	all[2].Kind, all[2].Text, all[2].Data = im.KindNotice, "", json.RawMessage(`{"joined": ["x"]}`)
	all[3].Text = "漢字 😀 \\ ' $1 \n <b>"
	all[4].Text = strings.Repeat("long ", im.MaxText/5)
	slices.SortFunc(all, func(a, b im.Message) int {
		if a.Place().Less(b.Place()) {
			return -1
		}
		return 1
	})
	elsewhere := pgtest.Said(im.Direct(bob, im.NewID()), bob, now, "not here")

	mixed := append(slices.Clone(all), all[3], elsewhere) // one twice
	rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	pgtest.Wants(t, db.AppendHistory(ctx, mixed), "")
	pgtest.Wants(t, db.AppendHistory(ctx, mixed[:5]), "") // again
	pgtest.Wants(t, db.AppendHistory(ctx, nil), "")

	last := im.Place{Time: im.TimeOf(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}
	for _, limit := range []int{1, 3, len(all), 100} {
		var forth, back []im.Message
		for from := (im.Place{}); ; {
			page, _, err := db.History(ctx, c, ann, from, false, limit)
			pgtest.Wants(t, err, "")
			forth = append(forth, page...)
			if len(page) < limit {
				break
			}
			from = page[len(page)-1].Place()
		}
		for from := last; ; {
			page, _, err := db.History(ctx, c, ann, from, true, limit)
			pgtest.Wants(t, err, "")
			back = append(back, page...)
			if len(page) < limit {
				break
			}
			from = page[len(page)-1].Place()
		}
		slices.Reverse(back)
		for name, got := range map[string][]im.Message{"forwards": forth, "backwards": back} {
			if !reflect.DeepEqual(got, all) {
				t.Errorf("%s by %d:\n%v\nwant\n%v", name, limit, got, all)
			}
		}
	}
}

func TestP2AppendingAgainKeepsTheFirst(t *testing.T) {
	db := pgtest.Fresh(t)
	m := pgtest.Said(im.Direct(im.NewID(), im.NewID()), im.NewID(), im.Now(), "first")
	again := m
	again.Text = "second"
	pgtest.Wants(t, db.AppendHistory(t.Context(), []im.Message{m, again}), "")
	pgtest.Wants(t, db.AppendHistory(t.Context(), []im.Message{again}), "")
	got, _, err := db.History(t.Context(), m.Conversation, m.From, im.Place{}, false, 10)
	if err != nil || len(got) != 1 || got[0].Text != "first" {
		t.Errorf("history = %v, %v", got, err)
	}
}

// TestP2OverlappingBatchesDoNotWaitForEachOther appends the same messages from
// several places at once, each in an order of its own.
func TestP2OverlappingBatchesDoNotWaitForEachOther(t *testing.T) {
	db := pgtest.Fresh(t)
	c := im.Direct(im.NewID(), im.NewID())
	var all []im.Message
	for i := range 200 {
		all = append(all, pgtest.Said(c, im.NewID(), im.Now()+im.Time(i), "x"))
	}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 5 {
				mine := slices.Clone(all)
				rand.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				if err := db.AppendHistory(t.Context(), mine); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got, _, err := db.History(t.Context(), c, "", im.Place{}, false, 1000); err != nil || len(got) != len(all) {
		t.Errorf("%d messages, %v; want %d", len(got), err, len(all))
	}
}

func TestWhatCannotBeKeptIsInvalid(t *testing.T) {
	db := pgtest.Fresh(t)
	good := pgtest.Said(im.Direct(im.NewID(), im.NewID()), im.NewID(), im.Now(), "good")
	for name, spoil := range map[string]func(*im.Message){
		"text with NUL":               func(m *im.Message) { m.Text = "a\x00b" },
		"text that is not UTF-8":      func(m *im.Message) { m.Text = "a\xff" },
		"data that is not JSON":       func(m *im.Message) { m.Data = json.RawMessage(`{"a":`) },
		"data that jsonb cannot hold": func(m *im.Message) { m.Data = json.RawMessage(`{"a":"\u0000"}`) },
		"no id":                       func(m *im.Message) { m.ID = "" },
		"an id that is none":          func(m *im.Message) { m.ID = "7" },
		"an answer to nothing":        func(m *im.Message) { m.ReplyTo = "7" },
		"a conversation too long for an index": func(m *im.Message) {
			b := make([]byte, 9000)
			for i := range b {
				b[i] = byte('a' + rand.IntN(26))
			}
			m.Conversation = im.Conversation(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.ID, bad.Text = im.NewMessageID(good.Time), "bad"
			spoil(&bad)
			pgtest.Wants(t, db.AppendHistory(t.Context(), []im.Message{good, bad}), im.Invalid)
			if got, _, err := db.History(t.Context(), good.Conversation, good.From, im.Place{}, false, 10); err != nil || len(got) != 0 {
				t.Errorf("history = %v, %v; want none of the batch", got, err)
			}
		})
	}
}

// A page of history, and what a search reads, are bounded by bytes as written
// where they are read: what is beyond that is kept by nobody.
func TestP7NoMoreIsReadThanAPageHolds(t *testing.T) {
	db := pgtest.Fresh(t)
	c := im.Direct("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb")
	var all []im.Message
	now := im.Now()
	for i := range 100 {
		at := now + im.Time(i)
		all = append(all, im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: "aaaaaaaaaaaaaaaa", ClientID: "c", Kind: im.KindText, Text: strings.Repeat("\x01", im.MaxText)})
	}
	pgtest.Wants(t, db.AppendHistory(t.Context(), all), "")
	for _, backwards := range []bool{false, true} {
		from := im.Place{}
		if backwards {
			from = im.LastPlace
		}
		page, rest, err := db.History(t.Context(), c, "aaaaaaaaaaaaaaaa", from, backwards, 200)
		if err != nil || !rest.Full || len(page) == 0 || len(page) > im.MaxPage/(6*im.MaxText) {
			t.Errorf("backwards %v: %d messages, full %v, %v", backwards, len(page), rest.Full, err)
		}
	}
	stretch := words.Stretch{To: im.LastPlace, Limit: 1000, Bytes: 1, Filters: make([]words.Filter, 1)}
	found, more, err := db.SearchMessages(t.Context(), []words.Scope{{Conversation: c}}, stretch)
	if err != nil || len(found) != 1 || !more {
		t.Errorf("%d are read, and more: %v, %v", len(found), more, err)
	}
}
