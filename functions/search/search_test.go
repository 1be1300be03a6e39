package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/words"
)

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
	cem = "cccccccccccccccc"
)

// shelf is messages in memory.
type shelf struct {
	messages []im.Message
	deleted  map[string]bool
	err      error
	read     int // messages that reads returned
	most     int // messages that a read returned
	bytes    int // of these
}

func (s *shelf) SearchScope(_ context.Context, user string, c im.Conversation) ([]words.Scope, error) {
	var scopes []words.Scope
	for _, has := range []im.Conversation{im.Direct(ann, bob), im.Direct(bob, cem)} {
		if has.Peer(user) != "" && (c == "" || c == has) {
			scopes = append(scopes, words.Scope{Conversation: has})
		}
	}
	return scopes, s.err
}

func (s *shelf) SearchMessages(_ context.Context, scopes []words.Scope, st words.Stretch) ([]im.Message, bool, error) {
	var out []im.Message
	for _, m := range s.messages {
		in := slices.ContainsFunc(scopes, func(s words.Scope) bool { return s.Conversation == m.Conversation })
		if in && !m.Place().Less(st.From) && m.Place().Less(st.To) && !m.Recalled && (st.Sender == "" || st.Sender == m.From) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b im.Message) int {
		if b.Place().Less(a.Place()) {
			return -1
		}
		return 1
	})
	n, size := 0, 0
	for ; n < min(st.Limit, len(out)); n++ {
		if size += out[n].WrittenLen(); size > st.Bytes && n > 0 {
			break
		}
	}
	s.read += n
	s.most, s.bytes = max(s.most, n), max(s.bytes, size)
	return out[:n], n < len(out) || n == st.Limit, s.err
}

func (s *shelf) DeletedMessages(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error) {
	out := make(map[im.EntryKey]bool)
	for _, k := range keys {
		out[k] = s.deleted[k.User+k.ID]
	}
	return out, s.err
}

type limit struct{ err error }

func (l limit) Allow(context.Context, string) error { return l.err }

func said(c im.Conversation, from string, at im.Time, text string) im.Message {
	return im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: from, Kind: im.KindText, Text: text}
}

func texts(p page) []string {
	out := []string{}
	for _, m := range p.Messages {
		out = append(out, m.Message.Text)
	}
	return out
}

func TestSearch(t *testing.T) {
	ours, theirs := im.Direct(ann, bob), im.Direct(bob, cem)
	now := im.Now()
	s := &shelf{deleted: map[string]bool{}}
	s.messages = append(s.messages, []im.Message{
		said(ours, ann, now-400*day, "the old meeting"),
		said(ours, bob, now-2*day, "no meetings today"),
		said(ours, ann, now-day, "我们明天开会"),
		said(ours, bob, now-hour, "the meeting minutes"),
		said(theirs, cem, now-hour, "a secret meeting"),
		said(ours, bob, now+hour, "by a clock that is ahead"),
		{ID: im.NewMessageID(now), Conversation: ours, Time: now, From: ann, Kind: im.KindFile, Data: json.RawMessage(`{"file":"` + ann + `","name":"Bericht März.pdf"}`)},
		{ID: im.NewMessageID(now), Conversation: ours, Time: now, From: ann, Kind: im.KindNotice, Data: json.RawMessage(`{"type":"meeting"}`)},
	}...)
	gone := said(ours, ann, now-3*day, "a meeting that ann has deleted")
	s.messages = append(s.messages, gone)
	s.deleted[ann+gone.ID] = true
	for _, tt := range []struct {
		name string
		in   request
		user string
		want []string
		err  im.Kind
	}{
		{name: "the best and most recent first", in: request{Query: "meeting"}, want: []string{"the meeting minutes", "no meetings today", "the old meeting"}},
		{name: "in Chinese", in: request{Query: "明天"}, want: []string{"我们明天开会"}},
		{name: "by the name of a file", in: request{Query: "bericht marz"}, want: []string{""}},
		{name: "by a clock that is ahead", in: request{Query: "clock"}, want: []string{"by a clock that is ahead"}},
		{name: "by its sender", in: request{Query: "meeting", From: ann}, want: []string{"the old meeting"}},
		{name: "since then", in: request{Query: "meeting", Since: now - 10*day}, want: []string{"the meeting minutes", "no meetings today"}},
		{name: "until then", in: request{Query: "meeting", Until: now - 10*day}, want: []string{"the old meeting"}},
		{name: "misspelt", in: request{Query: "meetign minutes"}, want: []string{"the meeting minutes"}},
		{name: "nothing", in: request{Query: "giraffe"}, want: []string{}},
		{name: "nothing but marks", in: request{Query: "%_*"}, want: []string{}},
		{name: "in a conversation", in: request{Query: "secret", Conversation: theirs}, user: bob, want: []string{"a secret meeting"}},
		{name: "what another has deleted", in: request{Query: "meeting deleted"}, user: bob, want: []string{"a meeting that ann has deleted"}},
		{name: "in a conversation of others", in: request{Query: "secret", Conversation: theirs}, err: im.Denied},
		{name: "in a conversation of others, nothing", in: request{Query: "%", Conversation: theirs}, err: im.Denied},
		{name: "what others said to others", in: request{Query: "secret"}, want: []string{}},
		{name: "for nothing", in: request{}, err: im.Invalid},
		{name: "too long", in: request{Query: strings.Repeat("x", 10<<10)}, err: im.TooLarge},
		{name: "too many", in: request{Query: "x", Limit: 101}, err: im.Invalid},
		{name: "in what is no conversation", in: request{Query: "x", Conversation: "x"}, err: im.Invalid},
		{name: "of what is no user", in: request{Query: "x", From: "'"}, err: im.Invalid},
		{name: "with what is no cursor", in: request{Query: "x", Cursor: "x"}, err: im.Invalid},
		{name: "of no time", in: request{Query: "x", Cursor: cursor.Encode(position{Search: hash(request{Query: "x"}), Now: -1})}, err: im.Invalid},
		{name: "from no place on", in: request{Query: "x", Cursor: cursor.Encode(position{Search: hash(request{Query: "x"}), Within: &within{Place: cursor.Message{ID: ann}}})}, err: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.user == "" {
				tt.user = ann
			}
			got, err := search(s, limit{})(t.Context(), im.Caller{User: tt.user}, tt.in)
			if tt.err != "" {
				if im.KindOf(err) != tt.err {
					t.Fatalf("error = %v, want kind %s", err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(texts(got), tt.want) || got.Next != "" {
				t.Errorf("found %q, next %q, %v; want %q", texts(got), got.Next, err, tt.want)
			}
			if b, err := json.Marshal(got); err != nil || strings.Contains(string(b), "null") {
				t.Errorf("written %s, %v", b, err)
			}
		})
	}
	down := errors.New("down")
	for _, f := range []func() (page, error){
		func() (page, error) {
			return search(&shelf{err: down}, limit{})(t.Context(), im.Caller{User: ann}, request{Query: "x"})
		},
		func() (page, error) {
			return search(s, limit{down})(t.Context(), im.Caller{User: ann}, request{Query: "x"})
		},
	} {
		if got, err := f(); !errors.Is(err, down) || len(got.Messages) > 0 {
			t.Errorf("page = %v, %v", got, err)
		}
	}
}

func TestPagingSeesEachMatchOnce(t *testing.T) {
	ours := im.Direct(ann, bob)
	now := im.Now()
	for _, size := range []int{1, 7, 100} {
		s := &shelf{}
		want := make(map[string]bool)
		for i := range 700 {
			m := said(ours, ann, now-im.Time(i/3)*day/4, fmt.Sprintf("good morning %d", i))
			if i%5 == 0 {
				m.Text = "good"
			}
			if i%7 == 0 {
				m.Text = "else"
			} else {
				want[m.ID] = true
			}
			s.messages = append(s.messages, m)
		}
		req := request{Query: "good", Limit: size}
		seen := make(map[string]bool)
		for n := 0; ; n++ {
			got, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, req)
			if err != nil || len(got.Messages) > size || n > 1000 {
				t.Fatalf("page %d has %d, %v", n, len(got.Messages), err)
			}
			for _, m := range got.Messages {
				if seen[m.Message.ID] {
					t.Fatalf("by %d: %q comes again on page %d", size, m.Message.Text, n)
				}
				seen[m.Message.ID] = true
			}
			if got.Next == "" {
				break
			}
			req.Cursor = got.Next
			// What is said meanwhile belongs to no page.
			s.messages = append(s.messages, said(ours, bob, im.Now()+im.Time(n+2), "good, too"))
		}
		if len(seen) != len(want) {
			t.Errorf("by %d, %d are found, want %d", size, len(seen), len(want))
		}
		other := req
		other.Query = "morning"
		if _, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, other); size < 100 && im.KindOf(err) != im.Invalid {
			t.Errorf("the cursor of another search: %v", err)
		}
	}
}

func TestP7APageReadsABoundedNumberOfMessages(t *testing.T) {
	s := &shelf{}
	now := im.Now()
	for i := range 2*maxExamined + 100 {
		s.messages = append(s.messages, said(im.Direct(ann, bob), ann, now-im.Time(i), "x"))
	}
	s.messages[len(s.messages)-1].Text = "giraffe"
	req := request{Query: "giraffe"}
	for pages := 1; ; pages++ {
		s.read = 0
		got, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, req)
		if err != nil || s.read > maxExamined || s.most > atOnce {
			t.Fatalf("%d messages were read, %d at a time, %v", s.read, s.most, err)
		}
		if len(got.Messages) == 1 {
			if pages < 2 {
				t.Error("it was found on the first page, which is too much work")
			}
			return
		}
		if got.Next == "" {
			t.Fatal("it was not found")
		}
		req.Cursor = got.Next
	}
}

// A cursor that somebody made up has no more read for it than two pages.
func TestP7ACursorThatIsMadeUpReadsABoundedNumberOfMessages(t *testing.T) {
	s := &shelf{}
	now := im.Now()
	for i := range 4 * maxExamined {
		s.messages = append(s.messages, said(im.Direct(ann, bob), ann, now-im.Time(i), "x"))
	}
	req := request{Query: "giraffe"}
	last := cursor.Message(im.LastPlace)
	made := position{Search: hash(req), Within: &within{Score: 10, Place: last}, Now: now, To: last}
	for _, fuzzy := range []bool{false, true} {
		s.read = 0
		made.Fuzzy = fuzzy
		req.Cursor = cursor.Encode(made)
		if _, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, req); err != nil || s.read > 2*maxExamined || s.most > atOnce {
			t.Errorf("fuzzy %v: %d messages were read, %d at a time, %v", fuzzy, s.read, s.most, err)
		}
	}
}

type indexing struct {
	left int
	err  error
}

func (i *indexing) IndexSearch(context.Context, int) (bool, error) {
	i.left--
	return i.left <= 0, i.err
}

func TestIndexGoesOnToTheEnd(t *testing.T) {
	in := &indexing{left: 5}
	if err := index(in)(t.Context()); err != nil || in.left != 0 {
		t.Errorf("%d are left, %v", in.left, err)
	}
	down := errors.New("down")
	if err := index(&indexing{left: 5, err: down})(t.Context()); !errors.Is(err, down) {
		t.Errorf("error = %v", err)
	}
}

// Nobody has all of a search's memory and time taken by long messages: what is
// read at a time, what is looked at for a page, and a page are bounded by bytes,
// and who goes on comes to the end.
func TestP7ASearchOfLongMessagesStopsEarlyAndSaysSo(t *testing.T) {
	s := &shelf{}
	now, text := im.Now(), strings.Repeat("girafes elegant girders gigantic ", 500)[:16_000]
	const n = 1000
	for i := range n {
		s.messages = append(s.messages, said(im.Direct(ann, bob), ann, now-im.Time(i)*hour, text))
	}
	req := request{Query: "gigantism elephants"}
	for pages := 1; ; pages++ {
		began := time.Now()
		got, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, req)
		if err != nil || s.bytes > atOnceBytes+len(text) || len(got.Messages) > 0 {
			t.Fatalf("%d bytes were read at a time, %d are found, %v", s.bytes, len(got.Messages), err)
		}
		if took := time.Since(began); took > patience+patienceGuessed+2*time.Second {
			t.Errorf("page %d took %v", pages, took)
		}
		if got.Incomplete != (got.Next != "") {
			t.Fatalf("page %d is incomplete: %v, and goes on with %q", pages, got.Incomplete, got.Next)
		}
		if got.Next == "" {
			if pages == 1 {
				t.Error("16 MB were looked at, twice, for one page")
			}
			return
		}
		if pages > n {
			t.Fatal("it does not end")
		}
		req.Cursor = got.Next
	}
}

func TestP7APageOfMatchesIsBoundedAsWritten(t *testing.T) {
	s := &shelf{}
	now := im.Now()
	want := 300
	for i := range want {
		s.messages = append(s.messages, said(im.Direct(ann, bob), ann, now-im.Time(i), "giraffe "+strings.Repeat("\x01", 16_000)))
	}
	seen := make(map[string]bool)
	req := request{Query: "giraffe", Limit: 100}
	for {
		got, err := search(s, limit{})(t.Context(), im.Caller{User: ann}, req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := im.JSON(got)
		if err != nil || len(b) > im.MaxPage+4<<10 {
			t.Fatalf("a page has %d bytes, %v", len(b), err)
		}
		for _, m := range got.Messages {
			seen[m.Message.ID] = true
		}
		if req.Cursor = got.Next; req.Cursor == "" {
			break
		}
	}
	if len(seen) != want {
		t.Errorf("%d are found, want %d", len(seen), want)
	}
}
