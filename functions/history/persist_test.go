package history

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest/fntest"
)

// shelf is a history in memory.
type shelf struct {
	messages  []im.Message
	reactions map[string][]im.Reaction
	err       error
	refuse    string // text of a message that it cannot keep
	amend     error
	archived  bool // some of it is elsewhere
	calls     int
}

func (s *shelf) AmendHistory(_ context.Context, messages []im.Message) error {
	if s.amend != nil {
		return s.amend
	}
	for _, m := range messages {
		if s.refuse != "" && m.Text == s.refuse {
			return im.Errorf(im.Invalid, "cannot hold it")
		}
	}
	for _, m := range messages {
		for i := range s.messages {
			if had := &s.messages[i]; had.ID == m.ID && had.Revision < m.Revision {
				had.Text, had.Revision, had.Recalled = m.Text, m.Revision, m.Recalled
			}
		}
	}
	return nil
}

func (s *shelf) AppendHistory(_ context.Context, messages []im.Message) error {
	s.calls++
	if s.err != nil {
		return s.err
	}
	for _, m := range messages {
		if s.refuse != "" && m.Text == s.refuse {
			return im.Errorf(im.Invalid, "cannot hold it")
		}
	}
	for _, m := range messages {
		if !slices.ContainsFunc(s.messages, func(had im.Message) bool { return had.ID == m.ID }) {
			s.messages = append(s.messages, m)
		}
	}
	return nil
}

func (s *shelf) History(_ context.Context, c im.Conversation, _ string, from im.Place, backwards bool, limit int) ([]im.Message, im.Rest, error) {
	var out []im.Message
	for _, m := range s.messages {
		if m.Conversation == c && (!backwards && from.Less(m.Place()) || backwards && m.Place().Less(from)) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b im.Message) int {
		if a.Place().Less(b.Place()) == backwards {
			return 1
		}
		return -1
	})
	n := im.Fit(out, limit, im.Message.WrittenLen)
	return out[:n], im.Rest{Archived: s.archived, Full: n < len(out)}, s.err
}

func (s *shelf) Reactions(_ context.Context, _ im.Conversation, _ string, messages []string) (map[string][]im.Reaction, error) {
	out := make(map[string][]im.Reaction)
	for _, id := range messages {
		out[id] = s.reactions[id]
	}
	return out, s.err
}

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
	cem = "cccccccccccccccc"
)

func said(at im.Time, text string) im.Message {
	return im.Message{ID: im.NewMessageID(at), Conversation: im.Direct(ann, bob), Time: at, From: ann, ClientID: "c", Kind: im.KindText, Text: text}
}

func TestPersist(t *testing.T) {
	hello, bye := said(1, "hello"), said(2, "bye")
	spoilt := func(f func(*im.Message)) im.Message {
		m := said(3, "bad")
		f(&m)
		return m
	}
	for _, tt := range []struct {
		name   string
		batch  []im.Message
		err    error
		refuse string
		want   []string // texts
		errs   []im.Kind
	}{
		{name: "kept, in one write", batch: []im.Message{hello, bye}, want: []string{"hello", "bye"}},
		{name: "delivered twice, kept once", batch: []im.Message{hello, hello}, want: []string{"hello"}},
		{name: "database down", batch: []im.Message{hello, bye}, err: im.Errorf(im.Unavailable, "down"), errs: []im.Kind{im.Unavailable, im.Unavailable}},
		{name: "an error of no kind comes again", batch: []im.Message{hello}, err: errors.New("what"), errs: []im.Kind{im.Internal}},
		{name: "what the database cannot hold is given up alone", batch: []im.Message{hello, said(3, "bad"), bye}, refuse: "bad",
			want: []string{"hello", "bye"}, errs: []im.Kind{"", im.Invalid, ""}},
		{name: "a notice without text", batch: []im.Message{spoilt(func(m *im.Message) { m.Kind, m.Text, m.Data = im.KindNotice, "", json.RawMessage(`{"a":1}`) })}, want: []string{""}},
		{name: "what can never be kept is refused by itself",
			batch: []im.Message{
				{},
				spoilt(func(m *im.Message) { m.ID = "7" }),
				spoilt(func(m *im.Message) { m.From = "" }),
				spoilt(func(m *im.Message) { m.Time = 0 }),
				spoilt(func(m *im.Message) { m.Conversation = "x" }),
				spoilt(func(m *im.Message) { m.Kind = "" }),
				spoilt(func(m *im.Message) { m.Text = "\xff" }),
				spoilt(func(m *im.Message) { m.Text = "a\x00" }),
				spoilt(func(m *im.Message) { m.Text = strings.Repeat("x", maxData+1) }),
				spoilt(func(m *im.Message) { m.ReplyTo = "x" }),
				spoilt(func(m *im.Message) { m.ClientID = strings.Repeat("x", im.MaxClientID+1) }),
				spoilt(func(m *im.Message) { m.Data = json.RawMessage(`{`) }),
				hello,
			},
			want: []string{"hello"},
			errs: []im.Kind{im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.TooLarge, im.Invalid, im.Invalid, im.Invalid, ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{err: tt.err, refuse: tt.refuse}
			batch := make([]event.Accepted, len(tt.batch))
			for i, m := range tt.batch {
				batch[i].Message = m
			}
			err := persist(s)(t.Context(), batch)
			fntest.Kinds(t, err, len(batch), tt.errs)
			var texts []string
			for _, m := range s.messages {
				texts = append(texts, m.Text)
			}
			if !slices.Equal(texts, tt.want) {
				t.Errorf("kept %q, want %q", texts, tt.want)
			}
			if tt.errs == nil && s.calls != 1 {
				t.Errorf("%d writes, want one", s.calls)
			}
		})
	}
}

func TestQuietNoticesAreInNoHistory(t *testing.T) {
	hello, quiet, broken := said(1, "hello"), said(2, ""), said(3, "")
	for _, m := range []*im.Message{&quiet, &broken} {
		m.Kind, m.Data = im.KindNotice, json.RawMessage(`{"type":"message.recalled"}`)
	}
	broken.From = ""
	s := &shelf{}
	err := persist(s)(t.Context(), []event.Accepted{
		{Message: quiet, Quiet: true},
		{Message: hello},
		{Message: broken, Quiet: true},
	})
	var each fn.Each
	if !errors.As(err, &each) || each[0] != nil || each[1] != nil || !errors.Is(each[2], im.Invalid) {
		t.Errorf("errors are %v, want one of the last event only", err)
	}
	if len(s.messages) != 1 || s.messages[0].ID != hello.ID {
		t.Errorf("kept %+v", s.messages)
	}
}

// Kafka may deliver a message at any time again; what has been done to it since
// is the truth.
func TestP2AMessageThatComesAgainIsNotWhatItWasBeforeItWasRecalled(t *testing.T) {
	s := &shelf{}
	m := said(1, "hello")
	batch := []event.Accepted{{Message: m}}
	if err := persist(s)(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	s.messages[0].Text, s.messages[0].Recalled = "", true
	if err := persist(s)(t.Context(), batch); err != nil || len(s.messages) != 1 || s.messages[0].Text != "" {
		t.Errorf("history is %+v, %v", s.messages, err)
	}
}

func TestWhatANoticeAmendsIsAmendedInHistory(t *testing.T) {
	hello, bye := said(1, "hello"), said(2, "bye")
	become := func(m im.Message, f func(*im.Message)) im.Message {
		m.Revision = 1
		f(&m)
		return m
	}
	edit := func(revision int, text string) im.Message {
		return become(hello, func(m *im.Message) { m.Revision, m.Text = revision, text })
	}
	recall := become(hello, func(m *im.Message) { m.Revision, m.Text, m.Recalled = 3, "", true })
	notice := func(amended ...im.Message) event.Accepted {
		m := said(9, "")
		m.Kind, m.Data = im.KindNotice, json.RawMessage(`{"type":"message.edited"}`)
		return event.Accepted{Message: m, Quiet: true, Amended: amended}
	}
	down := im.Errorf(im.Unavailable, "down")
	for _, tt := range []struct {
		name   string
		err    error // of appending
		amend  error
		refuse string
		batch  []event.Accepted
		want   string // texts
		errs   []im.Kind
	}{
		{name: "edited", batch: []event.Accepted{{Message: hello}, {Message: bye}, notice(edit(1, "hi"))}, want: "hi, bye"},
		{name: "recalled, in whatever order the changes come again",
			batch: []event.Accepted{notice(recall), {Message: hello}, notice(edit(2, "two")), notice(recall), notice(edit(1, "one")), {Message: hello}}, want: ""},
		{name: "what history does not have stays absent", batch: []event.Accepted{{Message: bye}, notice(edit(1, "hi"))}, want: "bye"},
		{name: "what one has deleted for themselves is the others' still",
			batch: []event.Accepted{{Message: hello}, notice(hello.Deleted())}, want: "hello"},
		{name: "a notice comes again with what it amends", err: down,
			batch: []event.Accepted{{Message: hello}, notice(edit(1, "hi")), notice()}, errs: []im.Kind{im.Unavailable, im.Unavailable, ""}},
		{name: "a notice comes again if what it amends could not be amended", amend: down,
			batch: []event.Accepted{{Message: hello}, notice(edit(1, "hi")), notice()}, want: "hello", errs: []im.Kind{"", im.Unavailable, ""}},
		{name: "what can never be amended is given up alone", refuse: "bad",
			batch: []event.Accepted{{Message: hello}, notice(edit(1, "hi")), notice(edit(2, "bad"))}, want: "hi", errs: []im.Kind{"", "", im.Invalid}},
		{name: "what makes no sense is given up alone",
			batch: []event.Accepted{
				{Message: hello},
				notice(edit(0, "a")), notice(edit(-1, "a")), notice(edit(1<<31, "a")), notice(im.Message{}), notice(edit(1, "a\x00")),
				notice(become(hello, func(m *im.Message) { m.Conversation = im.Direct(ann, cem) })),
				notice(slices.Repeat([]im.Message{edit(1, "a")}, maxAmended+1)...),
				notice(edit(1, "hi")),
			}, want: "hi",
			errs: []im.Kind{"", im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, im.Invalid, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{err: tt.err, amend: tt.amend, refuse: tt.refuse}
			err := persist(s)(t.Context(), tt.batch)
			fntest.Kinds(t, err, len(tt.batch), tt.errs)
			var texts []string
			for _, m := range s.messages {
				texts = append(texts, m.Text)
			}
			if got := strings.Join(texts, ", "); got != tt.want {
				t.Errorf("history is %q, want %q", got, tt.want)
			}
		})
	}
}
