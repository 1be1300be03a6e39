package history

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

type roster struct {
	groups map[string][]string
	err    error
}

func (r roster) IsMember(_ context.Context, group, user string) (bool, error) {
	return slices.Contains(r.groups[group], user), r.err
}

const (
	staff = "ssssssssssssssss"
	gone  = "zzzzzzzzzzzzzzzz"
)

func TestRead(t *testing.T) {
	s := &shelf{}
	var cursors []string
	for i := range 300 {
		m := said(im.Time(1000+i/3), fmt.Sprint(i)) // three of the same time
		m.ID = fmt.Sprintf("01890000-0000-7000-8000-%012d", i)
		s.messages = append(s.messages, m)
		cursors = append(cursors, formatCursor(m.Place()))
	}
	c := im.Direct(ann, bob)
	for _, tt := range []struct {
		name       string
		in         readRequest
		first, n   int
		prev, next string
		err        im.Kind
	}{
		{name: "the newest, 50 unless said otherwise", first: 250, n: 50, prev: cursors[250], next: cursors[299]},
		{name: "what precedes a cursor", in: readRequest{Before: cursors[250], Limit: 10}, first: 240, n: 10, prev: cursors[240], next: cursors[249]},
		{name: "the first page has none before it", in: readRequest{Before: cursors[5], Limit: 10}, first: 0, n: 5, next: cursors[4]},
		{name: "what precedes the first", in: readRequest{Before: cursors[0]}, next: cursors[0]},
		{name: "what follows a cursor", in: readRequest{After: cursors[9], Limit: 200}, first: 10, n: 200, prev: cursors[10], next: cursors[209]},
		{name: "what follows the newest, now and later", in: readRequest{After: cursors[299]}, prev: cursors[299], next: cursors[299]},
		{name: "the last page can be followed later", in: readRequest{After: cursors[289], Limit: 50}, first: 290, n: 10, prev: cursors[290], next: cursors[299]},
		{name: "too many", in: readRequest{Limit: 201}, err: im.Invalid},
		{name: "a negative number", in: readRequest{Limit: -1}, err: im.Invalid},
		{name: "both directions", in: readRequest{Before: cursors[0], After: cursors[1]}, err: im.Invalid},
		{name: "what is no cursor", in: readRequest{Before: "x"}, err: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Conversation = c
			page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: ann}, tt.in)
			if tt.err != "" {
				if im.KindOf(err) != tt.err {
					t.Errorf("error = %v, want kind %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) != tt.n || page.Prev != tt.prev || page.Next != tt.next {
				t.Errorf("%d messages, prev %q, next %q; want %d, %q, %q", len(page.Messages), page.Prev, page.Next, tt.n, tt.prev, tt.next)
			}
			for i, m := range page.Messages {
				if m.Text != fmt.Sprint(tt.first+i) {
					t.Fatalf("message %d is %s, want %d", i, m.Text, tt.first+i)
				}
			}
			if b, err := json.Marshal(page); err != nil || strings.Contains(string(b), "null") {
				t.Errorf("written %s, %v", b, err)
			}
		})
	}

	t.Run("paging either way sees each message once", func(t *testing.T) {
		var back, forth []im.Message
		in := readRequest{Conversation: c, Limit: 7}
		for {
			page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: bob}, in)
			if err != nil {
				t.Fatal(err)
			}
			back = append(slices.Clone(page.Messages), back...)
			if page.Prev == "" {
				break
			}
			in.Before = page.Prev
		}
		in = readRequest{Conversation: c, Limit: 7, After: formatCursor(im.Place{ID: "00000000-0000-0000-0000-000000000000"})}
		for {
			page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: bob}, in)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Messages) == 0 {
				break
			}
			forth = append(forth, page.Messages...)
			in.After = page.Next
		}
		same := func(a, b im.Message) bool { return a.ID == b.ID }
		if !slices.EqualFunc(back, s.messages, same) || !slices.EqualFunc(forth, s.messages, same) {
			t.Errorf("backwards %d messages, forwards %d, want the %d", len(back), len(forth), len(s.messages))
		}
	})
}

func TestP7PagesAreBoundedInBytes(t *testing.T) {
	s := &shelf{}
	for i := range 10 {
		s.messages = append(s.messages, said(im.Time(i+1), strings.Repeat("x", im.MaxPage/4+1)))
	}
	s.messages[4].Text = strings.Repeat("x", im.MaxPage+1)
	n := 0
	for in := (readRequest{Conversation: im.Direct(ann, bob)}); ; {
		page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: ann}, in)
		if err != nil || len(page.Messages) == 0 || len(page.Messages) > 4 {
			t.Fatalf("%d messages, %v", len(page.Messages), err)
		}
		n += len(page.Messages)
		if page.Prev == "" {
			break
		}
		in.Before = page.Prev
	}
	if n != len(s.messages) {
		t.Errorf("%d messages were read, want %d", n, len(s.messages))
	}
}

// What is written counts, not what was said: escapes are six bytes of one, and <
// is one.
func TestP7APageIsMeasuredAsWritten(t *testing.T) {
	for _, text := range []string{strings.Repeat("<", 16_000), strings.Repeat("\x01", 16_000), strings.Repeat(`"`, 16_000)} {
		s := &shelf{}
		for i := range 200 {
			s.messages = append(s.messages, said(im.Time(i+1), text))
		}
		n := 0
		for in := (readRequest{Conversation: im.Direct(ann, bob), Limit: 200}); ; {
			page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: ann}, in)
			if err != nil {
				t.Fatal(err)
			}
			b, err := im.JSON(page)
			if err != nil || len(b) > im.MaxPage+4<<10 {
				t.Fatalf("a page of %.1q has %d bytes, %v", text, len(b), err)
			}
			if n += len(page.Messages); page.Prev == "" {
				break
			}
			in.Before = page.Prev
		}
		if n != len(s.messages) {
			t.Errorf("%d messages were read, want %d", n, len(s.messages))
		}
	}
}

func TestP6HistoryIsForMembers(t *testing.T) {
	down := im.Errorf(im.Unavailable, "down")
	for _, tt := range []struct {
		name string
		c    im.Conversation
		user string
		err  error // of the members
		want im.Kind
	}{
		{name: "either user of a conversation", c: im.Direct(ann, bob), user: bob},
		{name: "a third one", c: im.Direct(ann, bob), user: cem, want: im.Denied},
		{name: "a member of a group", c: im.Group(staff), user: ann},
		{name: "one who is none", c: im.Group(staff), user: cem, want: im.Denied},
		{name: "a group that there is not", c: im.Group(gone), user: ann, want: im.Denied},
		{name: "nobody", c: im.Group(staff), user: "", want: im.Denied},
		{name: "what is no conversation", c: "d:" + ann + ":" + bob + ":" + cem, user: ann, want: im.Invalid},
		{name: "a conversation with oneself", c: "d:" + ann + ":" + ann, user: ann, want: im.Invalid},
		{name: "members that cannot be read", c: im.Group(staff), user: ann, err: down, want: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secret := said(1, "secret")
			secret.Conversation = tt.c
			s := &shelf{messages: []im.Message{secret}}
			page, err := read(s, nil, roster{map[string][]string{staff: {ann, bob}}, tt.err})(t.Context(), im.Caller{User: tt.user}, readRequest{Conversation: tt.c})
			if tt.want == "" {
				if err != nil || len(page.Messages) != 1 {
					t.Errorf("page = %v, %v", page, err)
				}
				return
			}
			if im.KindOf(err) != tt.want || len(page.Messages) > 0 {
				t.Errorf("page = %v, error = %v, want kind %s", page, err, tt.want)
			}
		})
	}

	t.Run("and a stranger is told the same whether there is a group or not", func(t *testing.T) {
		r := roster{groups: map[string][]string{staff: {ann}}}
		_, one := read(&shelf{}, nil, r)(t.Context(), im.Caller{User: cem}, readRequest{Conversation: im.Group(staff)})
		_, other := read(&shelf{}, nil, r)(t.Context(), im.Caller{User: cem}, readRequest{Conversation: im.Group(gone)})
		if im.ProblemOf(one) != im.ProblemOf(other) {
			t.Errorf("%v is not %v", one, other)
		}
	})
}

// A client may have kept its cursors for years.
func TestACursorOfTheOldFormIsUnderstood(t *testing.T) {
	for _, p := range []im.Place{im.LastPlace, said(1, "x").Place()} {
		if got, err := parseCursor(base64.RawURLEncoding.EncodeToString(p.AppendTo(nil))); err != nil || got != p {
			t.Errorf("%v is read as %v, %v", p, got, err)
		}
	}
	never := im.Place{Time: -1, ID: im.LastPlace.ID}
	if got, err := parseCursor(base64.RawURLEncoding.EncodeToString(never.AppendTo(nil))); im.KindOf(err) != im.Invalid || err == nil {
		t.Errorf("of no time: %v, %v", got, err)
	}
}

func TestMessagesAreReadWithTheirReactions(t *testing.T) {
	a, b := said(1, "a"), said(2, "b")
	s := &shelf{messages: []im.Message{a, b}, reactions: map[string][]im.Reaction{b.ID: {{Emoji: "👍", Count: 2, Mine: true}}}}
	page, err := read(s, nil, roster{})(t.Context(), im.Caller{User: ann}, readRequest{Conversation: im.Direct(ann, bob)})
	if err != nil || len(page.Messages) != 2 || page.Messages[0].Reactions != nil || !slices.Equal(page.Messages[1].Reactions, s.reactions[b.ID]) {
		t.Errorf("read %+v, %v", page.Messages, err)
	}
}

// attic is an archive in memory.
type attic struct {
	shelf
	most  int // messages in an answer
	asked []event.ArchiveAsk
}

func (a *attic) Read(ctx context.Context, ask event.ArchiveAsk) (event.ArchiveAnswer, error) {
	a.asked = append(a.asked, ask)
	limit := min(ask.Limit, a.most)
	messages, _, err := a.History(ctx, ask.Conversation, ask.User, ask.From, ask.Backwards, limit)
	return event.ArchiveAnswer{Messages: messages, Ended: len(messages) < limit}, err
}

// Where a message is, is nothing that a reader sees: each of these is in
// history, in the archive, or in both as it is while it moves.
func TestPagesAreTheSameWhereverMessagesAre(t *testing.T) {
	const n = 60
	for name, place := range map[string]func(i int) (history, archive bool){
		"all in the archive":    func(i int) (bool, bool) { return false, true },
		"the older half":        func(i int) (bool, bool) { return i >= n/2, i < n/2 },
		"some in both":          func(i int) (bool, bool) { return i >= n/3, i < n/2 },
		"the newer half":        func(i int) (bool, bool) { return i < n/2, i >= n/2 },
		"every third, and both": func(i int) (bool, bool) { return i%3 > 0, i%3 < 2 },
	} {
		for _, most := range []int{200, 3} {
			t.Run(fmt.Sprintf("%s, %d in an answer", name, most), func(t *testing.T) {
				s, old := &shelf{archived: true}, &attic{most: most}
				var want []im.Message
				for i := range n {
					m := said(im.Time(1000+i/3), fmt.Sprint(i)) // three of the same time
					m.ID = fmt.Sprintf("01890000-0000-7000-8000-%012d", i)
					want = append(want, m)
					history, archive := place(i)
					if archive {
						old.messages = append(old.messages, m)
					}
					if history {
						if archive {
							m.Text = "as it was"
						}
						s.messages = append(s.messages, m)
					}
				}
				for _, limit := range []int{1, 7, 200} {
					var back, forth []im.Message
					in := readRequest{Conversation: im.Direct(ann, bob), Limit: limit}
					for in.Before = ""; ; {
						page, err := read(s, old, roster{})(t.Context(), im.Caller{User: ann}, in)
						if err != nil || len(back) > n {
							t.Fatal(len(back), err)
						}
						back = append(slices.Clone(page.Messages), back...)
						if in.Before = page.Prev; in.Before == "" {
							break
						}
					}
					in.Before, in.After = "", formatCursor(im.Place{ID: "00000000-0000-0000-0000-000000000000"})
					for {
						page, err := read(s, old, roster{})(t.Context(), im.Caller{User: ann}, in)
						if err != nil || len(forth) > n {
							t.Fatal(len(forth), err)
						}
						if len(page.Messages) == 0 {
							break
						}
						forth = append(forth, page.Messages...)
						in.After = page.Next
					}
					for _, got := range [][]im.Message{back, forth} {
						if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
							t.Errorf("by %d: %d messages, want %d: %+v", limit, len(got), n, got)
						}
					}
				}
			})
		}
	}

	t.Run("and nobody asks the archive who need not", func(t *testing.T) {
		s, old := &shelf{messages: []im.Message{said(1, "a")}}, &attic{}
		if _, err := read(s, old, roster{})(t.Context(), im.Caller{User: ann}, readRequest{Conversation: im.Direct(ann, bob)}); err != nil || len(old.asked) > 0 {
			t.Errorf("asked %d times, %v", len(old.asked), err)
		}
	})
	t.Run("and P6 a stranger asks neither", func(t *testing.T) {
		s, old := &shelf{archived: true}, &attic{}
		if _, err := read(s, old, roster{})(t.Context(), im.Caller{User: cem}, readRequest{Conversation: im.Direct(ann, bob)}); im.KindOf(err) != im.Denied || len(old.asked) > 0 {
			t.Errorf("asked %d times, %v", len(old.asked), err)
		}
	})
	t.Run("and an archive that is down is told", func(t *testing.T) {
		s, old := &shelf{archived: true}, &attic{shelf: shelf{err: im.Errorf(im.Unavailable, "down")}, most: 9}
		if _, err := read(s, old, roster{})(t.Context(), im.Caller{User: ann}, readRequest{Conversation: im.Direct(ann, bob)}); im.KindOf(err) != im.Unavailable {
			t.Errorf("error = %v", err)
		}
	})
}
