package conversation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

// with returns the conversation of ann with the n-th of others.
func with(n int) im.Conversation { return im.Direct(ann, fmt.Sprintf("u%015d", n)) }

// told writes a page down: conversations by their newest message.
func told(t *testing.T, p listPage) string {
	t.Helper()
	var out []string
	for _, c := range p.Conversations {
		var m struct{ ID string }
		if err := json.Unmarshal(c.Last, &m); err != nil {
			t.Fatal(err)
		}
		s := strings.TrimLeft(m.ID[24:], "0")
		if c.Unread > 0 {
			s += fmt.Sprint("+", c.Unread)
		}
		if c.Read != "" {
			s += "@" + strings.TrimLeft(c.Read[24:], "0")
		}
		if c.Pinned {
			s += " pinned"
		}
		if c.Muted {
			s += " muted"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestConversationList(t *testing.T) {
	type states = map[im.Conversation]im.ConversationState
	direct, group, other := im.Direct(ann, bob), im.Group(staff), im.Direct(ann, cem)
	three := func(s *shelf) { // of which direct is the newest
		s.put(ann, 1, group, im.ClassUnread)
		s.put(ann, 2, other, im.ClassUnread)
		s.put(ann, 3, group, im.ClassShown)
		s.put(ann, 4, other, im.ClassUnread)
		s.put(ann, 5, direct, im.ClassUnread)
		s.put(bob, 9, direct, im.ClassUnread)
	}
	for _, tt := range []struct {
		name string
		fill func(*shelf)
		done states
		want string
	}{
		{name: "nobody has said anything", fill: func(*shelf) {}},
		{name: "the newest first, and what others have written", fill: three, want: "5+1, 4+2, 3+1"},
		{name: "what was read is not unread", fill: three, done: states{other: {Read: mid(2)}, group: {Read: mid(3)}, direct: {Read: mid(5)}}, want: "5@5, 4+1@2, 3@3"},
		{name: "the pinned ones first, and of them the newest", fill: three, done: states{group: {Pinned: true}, other: {Pinned: true, Muted: true}}, want: "4+2 pinned muted, 3+1 pinned, 5+1"},
		{name: "hidden ones are left out", fill: three, done: states{direct: {Hidden: mid(5)}, other: {Hidden: mid(7), Pinned: true}}, want: "3+1"},
		{name: "until something newer is said", fill: three, done: states{other: {Hidden: mid(3)}, direct: {Hidden: mid(5)}}, want: "4+2, 3+1"},
		{name: "what is quiet changes nothing", fill: func(s *shelf) {
			three(s)
			s.put(ann, 6, group, im.ClassQuiet)
			s.put(ann, 7, im.Group(gone), im.ClassQuiet)
		}, want: "5+1, 4+2, 3+1"},
		{name: "what was deleted while it was read is left out", fill: func(s *shelf) {
			three(s)
			s.get = func(got map[string]im.Entry) {
				delete(got, mid(5))
				e := got[mid(4)]
				e.Class = im.ClassQuiet
				got[mid(4)] = e
			}
		}, want: "3+1"},
		{name: "further than a thousand nobody counts", fill: func(s *shelf) {
			for i := range 1200 {
				s.put(ann, i+1, direct, im.ClassUnread)
			}
		}, want: "1200+1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{}
			tt.fill(s)
			page, err := list(s, &book{states: tt.done})(t.Context(), im.Caller{User: ann}, listRequest{})
			if err != nil || page.Next != "" {
				t.Fatalf("next = %q, error = %v", page.Next, err)
			}
			if got := told(t, page); got != tt.want {
				t.Errorf("the list is %q, want %q", got, tt.want)
			}
			for _, c := range page.Conversations {
				i := slices.IndexFunc(s.entries, func(e im.Entry) bool { return e.User == ann && string(e.Message) == string(c.Last) })
				if e := s.entries[i]; e.Seq != c.Seq || e.Conversation != c.Conversation {
					t.Errorf("%+v is not %+v", c, e)
				}
			}
			if b, err := json.Marshal(page); err != nil || strings.Contains(string(b), "null") {
				t.Errorf("written %s, %v", b, err)
			}
		})
	}
}

func TestConversationListIsPaged(t *testing.T) {
	s, b := &shelf{}, &book{states: map[im.Conversation]im.ConversationState{}}
	order := rand.Perm(230)
	for i, n := range order {
		s.put(ann, i+1, with(n), im.ClassUnread)
		if i%10 == 3 {
			b.states[with(n)] = im.ConversationState{Pinned: true}
		}
		if i%10 == 4 {
			b.states[with(n)] = im.ConversationState{Hidden: mid(i + 1)}
		}
	}
	var want []im.Conversation
	for _, pinned := range []bool{true, false} {
		for i := len(order) - 1; i >= 0; i-- {
			if c := with(order[i]); b.states[c].Pinned == pinned && b.states[c].Hidden == "" {
				want = append(want, c)
			}
		}
	}
	do := list(s, b)
	for _, limit := range []int{0, 1, 7, 50, 100} {
		var got []im.Conversation
		pages := 0
		for in := (listRequest{Limit: limit}); ; pages++ {
			page, err := do(t.Context(), im.Caller{User: ann}, in)
			if err != nil {
				t.Fatal(err)
			}
			if most := max(limit, 1); limit > 0 && len(page.Conversations) > most || len(page.Conversations) > maxList || pages > 300 {
				t.Fatalf("page %d of limit %d has %d", pages, limit, len(page.Conversations))
			}
			for _, c := range page.Conversations {
				got = append(got, c.Conversation)
			}
			if page.Next == "" {
				break
			}
			in.Cursor = page.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %d conversations, want %d in their order", limit, len(got), len(want))
		}
	}

	t.Run("what moves up between pages is not seen again, and nothing else is missed", func(t *testing.T) {
		page, err := do(t.Context(), im.Caller{User: ann}, listRequest{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		moved := want[150]
		s.put(ann, 1000, moved, im.ClassUnread)
		var got []im.Conversation
		for cursor := page.Next; cursor != ""; cursor = page.Next {
			if page, err = do(t.Context(), im.Caller{User: ann}, listRequest{Limit: 100, Cursor: cursor}); err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Conversations {
				got = append(got, c.Conversation)
			}
		}
		if rest := slices.DeleteFunc(slices.Clone(want[100:]), func(c im.Conversation) bool { return c == moved }); !slices.Equal(got, rest) {
			t.Errorf("%d conversations follow, want %d", len(got), len(rest))
		}
	})
}

func TestP7ListsAreBoundedInBytes(t *testing.T) {
	s := &shelf{}
	for i := range 12 {
		s.put(ann, i+1, with(i), im.ClassUnread)
		s.entries[i].Message = json.RawMessage(fmt.Sprintf(`{"id":%q,"text":%q}`, mid(i+1), strings.Repeat("x", im.MaxPage/4)))
	}
	s.entries[5].Message = json.RawMessage(fmt.Sprintf(`{"id":%q,"text":%q}`, mid(6), strings.Repeat("x", 2*im.MaxPage)))
	n := 0
	for in := (listRequest{}); ; {
		page, err := list(s, &book{})(t.Context(), im.Caller{User: ann}, in)
		if err != nil || len(page.Conversations) == 0 || len(page.Conversations) > 4 {
			t.Fatalf("%d conversations, %v", len(page.Conversations), err)
		}
		n += len(page.Conversations)
		if page.Next == "" {
			break
		}
		in.Cursor = page.Next
	}
	if n != 12 {
		t.Errorf("%d conversations were read", n)
	}
}

func TestConversationListRefuses(t *testing.T) {
	full := &shelf{}
	full.put(ann, 1, im.Direct(ann, bob), im.ClassUnread)
	for _, tt := range []struct {
		name  string
		in    listRequest
		inbox *shelf
		book  book
		err   im.Kind
	}{
		{name: "a negative limit", in: listRequest{Limit: -1}, err: im.Invalid},
		{name: "an oversized limit", in: listRequest{Limit: maxList + 1}, err: im.Invalid},
		{name: "what is no cursor", in: listRequest{Cursor: "x"}, err: im.Invalid},
		{name: "after no message", in: listRequest{Cursor: cursor.Encode(position{ID: ann})}, err: im.Invalid},
		{name: "an inbox that is down", inbox: &shelf{err: errDown}, err: im.Unavailable},
		{name: "states that are down", book: book{err: errDown}, err: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.inbox == nil {
				tt.inbox = full
			}
			if _, err := list(tt.inbox, &tt.book)(t.Context(), im.Caller{User: ann}, tt.in); im.KindOf(err) != tt.err || err == nil {
				t.Errorf("error = %v, want kind %s", err, tt.err)
			}
		})
	}
}
