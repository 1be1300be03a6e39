package conversation

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

// newMarker returns a marker of ann's inbox: messages 1 to 5 of each
// conversation that she has.
func newMarker(b *book) *marker {
	s := &shelf{}
	for n, c := range []im.Conversation{im.Direct(ann, bob), im.Group(staff), im.Group(gone)} {
		for i := range 5 {
			s.put(ann, 10*n+i+1, c, im.ClassUnread)
		}
	}
	s.put(bob, 99, im.Direct(ann, bob), im.ClassShown)
	return &marker{
		change:    b.change,
		inbox:     s,
		relations: ties{is: map[im.Pair]im.Relation{im.PairOf(ann, bob): {Exist: true}, im.PairOf(ann, cem): {Exist: true}}},
		members:   roster{groups: map[string][]string{staff: {ann, bob, cem}}},
		most:      3,
	}
}

func TestMessageRead(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	for _, tt := range []struct {
		name string
		in   readRequest
		was  string
		with func(*marker, *book)
		want string   // the mark
		to   []string // of the notice; nil is the members
		told bool
		err  im.Kind
	}{
		{name: "a mark is told to both", in: readRequest{direct, mid(3)}, want: mid(3), told: true, to: []string{ann, bob}},
		{name: "a later one, too", in: readRequest{direct, mid(3)}, was: mid(2), want: mid(3), told: true, to: []string{ann, bob}},
		{name: "what was read already is told to nobody", in: readRequest{direct, mid(3)}, was: mid(3), want: mid(3)},
		{name: "a mark does not go back", in: readRequest{direct, mid(3)}, was: mid(5), want: mid(5)},
		{name: "members of a small group are told", in: readRequest{group, mid(11)}, want: mid(11), told: true},
		{name: "those of a larger one are not", in: readRequest{group, mid(11)}, with: func(m *marker, _ *book) { m.most = 2 }, want: mid(11), told: true, to: []string{ann}},
		{name: "those of a group that one has left are not", in: readRequest{group, mid(11)}, want: mid(11), told: true, to: []string{ann},
			with: func(m *marker, _ *book) { m.members = roster{groups: map[string][]string{staff: {bob, cem}}} }},
		{name: "a group that is gone can still be read", in: readRequest{im.Group(gone), mid(21)}, want: mid(21), told: true, to: []string{ann}},
		{name: "nobody is told across a block", in: readRequest{direct, mid(3)}, want: mid(3), told: true, to: []string{ann},
			with: func(m *marker, _ *book) {
				m.relations = ties{is: map[im.Pair]im.Relation{im.PairOf(ann, bob): {Exist: true, Blocked: true}}}
			}},
		{name: "nor in a small group", in: readRequest{group, mid(11)}, want: mid(11), told: true, to: []string{ann, cem},
			with: func(m *marker, _ *book) {
				m.relations = ties{is: map[im.Pair]im.Relation{im.PairOf(ann, bob): {Exist: true, Blocked: true}, im.PairOf(ann, cem): {Exist: true}}}
			}},
		{name: "nor one who is not there any more", in: readRequest{direct, mid(3)}, want: mid(3), told: true, to: []string{ann},
			with: func(m *marker, _ *book) { m.relations = ties{} }},

		{name: "P6: a conversation of others", in: readRequest{im.Direct(bob, cem), mid(3)}, err: im.Denied},
		{name: "a message that is not there", in: readRequest{direct, mid(6)}, err: im.NotFound},
		{name: "P6: a message that another has", in: readRequest{direct, mid(99)}, err: im.NotFound},
		{name: "a message of another conversation", in: readRequest{direct, mid(11)}, err: im.NotFound},
		{name: "P6: a group of which one has nothing", in: readRequest{im.Group("gggggggggggggggg"), mid(11)}, err: im.NotFound},
		{name: "what is no conversation", in: readRequest{"g:", mid(1)}, err: im.Invalid},
		{name: "what is no message", in: readRequest{direct, "1"}, err: im.Invalid},
		{name: "no message", in: readRequest{direct, ""}, err: im.Invalid},

		{name: "an inbox that is down", in: readRequest{direct, mid(3)}, with: func(m *marker, _ *book) { m.inbox = &shelf{err: errDown} }, err: im.Unavailable},
		{name: "relations that are down", in: readRequest{direct, mid(3)}, with: func(m *marker, _ *book) { m.relations = ties{err: errDown} }, err: im.Unavailable},
		{name: "relations that are down, in a group", in: readRequest{group, mid(11)}, with: func(m *marker, _ *book) { m.relations = ties{err: errDown} }, err: im.Unavailable},
		{name: "members that are down", in: readRequest{group, mid(11)}, with: func(m *marker, _ *book) { m.members = roster{err: errDown} }, err: im.Unavailable},
		{name: "a change that fails", in: readRequest{direct, mid(3)}, with: func(_ *marker, b *book) { b.err = errDown }, err: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &book{states: map[im.Conversation]im.ConversationState{tt.in.Conversation: {Read: tt.was}}}
			m := newMarker(b)
			if tt.with != nil {
				tt.with(m, b)
			}
			got, err := m.read(t.Context(), im.Caller{User: ann}, tt.in)
			if tt.err != "" {
				if im.KindOf(err) != tt.err || len(b.notices) > 0 {
					t.Errorf("error = %v, want kind %s; told %v", err, tt.err, b.notices)
				}
				return
			}
			if err != nil || got.Message != tt.want || b.states[tt.in.Conversation].Read != tt.want {
				t.Fatalf("answer = %v, %v; kept %v, want %s", got, err, b.states, tt.want)
			}
			if !tt.told {
				if len(b.notices) > 0 {
					t.Errorf("told %+v", b.notices)
				}
				return
			}
			n := b.notices[0]
			if len(b.notices) != 1 || n.Type != im.MessageRead || !n.Quiet || n.From != ann || n.Conversation != tt.in.Conversation || !slices.Equal(n.To, tt.to) {
				t.Errorf("told %+v, want %v told", b.notices, tt.to)
			}
			if want := fmt.Sprintf(`{"message":%q,"user":%q}`, tt.want, ann); string(n.Data) != want {
				t.Errorf("data = %s, want %s", n.Data, want)
			}
			if b, err := json.Marshal(got); err != nil || string(b) != fmt.Sprintf(`{"message":%q}`, tt.want) {
				t.Errorf("written %s, %v", b, err)
			}
		})
	}
}
