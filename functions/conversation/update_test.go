package conversation

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestConversationUpdate(t *testing.T) {
	yes, no := true, false
	direct, group := im.Direct(ann, bob), im.Group(staff)
	type states = map[im.Conversation]im.ConversationState
	for _, tt := range []struct {
		name string
		in   updateRequest
		was  states
		want im.ConversationState
		told string // the data of the notice
		down string
		err  im.Kind
	}{
		{name: "pinned", in: updateRequest{direct, &yes, nil, nil}, want: im.ConversationState{Pinned: true}, told: `{"pinned":true,"muted":false,"hidden":false}`},
		{name: "muted", in: updateRequest{direct, nil, &yes, nil}, want: im.ConversationState{Muted: true}, told: `{"pinned":false,"muted":true,"hidden":false}`},
		{name: "hidden up to the newest message", in: updateRequest{direct, nil, nil, &yes}, want: im.ConversationState{Hidden: mid(3)}, told: `{"pinned":false,"muted":false,"hidden":true}`},
		{name: "hidden again, with more to hide", in: updateRequest{direct, nil, nil, &yes}, was: states{direct: {Hidden: mid(1)}},
			want: im.ConversationState{Hidden: mid(3)}, told: `{"pinned":false,"muted":false,"hidden":true}`},
		{name: "shown", in: updateRequest{direct, nil, nil, &no}, was: states{direct: {Hidden: mid(3), Read: mid(2)}},
			want: im.ConversationState{Read: mid(2)}, told: `{"pinned":false,"muted":false,"hidden":false}`},
		{name: "one that has come back is not told as hidden", in: updateRequest{direct, nil, &yes, nil}, was: states{direct: {Hidden: mid(1)}},
			want: im.ConversationState{Hidden: mid(1), Muted: true}, told: `{"pinned":false,"muted":true,"hidden":false}`},
		{name: "all at once", in: updateRequest{direct, &no, &no, &yes}, was: states{direct: {Pinned: true, Muted: true}},
			want: im.ConversationState{Hidden: mid(3)}, told: `{"pinned":false,"muted":false,"hidden":true}`},
		{name: "what is so already is told to nobody", in: updateRequest{direct, &yes, &no, &yes}, was: states{direct: {Pinned: true, Hidden: mid(3)}},
			want: im.ConversationState{Pinned: true, Hidden: mid(3)}},
		{name: "a group in which nothing was said yet", in: updateRequest{group, nil, &yes, nil}, want: im.ConversationState{Muted: true}, told: `{"pinned":false,"muted":true,"hidden":false}`},
		{name: "there nothing can be hidden", in: updateRequest{group, nil, nil, &yes}},
		{name: "a group that one has left but has messages of", in: updateRequest{im.Group(gone), &yes, nil, nil}, want: im.ConversationState{Pinned: true}, told: `{"pinned":true,"muted":false,"hidden":false}`},

		{name: "nothing", in: updateRequest{Conversation: direct}, err: im.Invalid},
		{name: "what is no conversation", in: updateRequest{"d:x", &yes, nil, nil}, err: im.Invalid},
		{name: "P6: a conversation of others", in: updateRequest{im.Direct(bob, cem), &yes, nil, nil}, err: im.Denied},
		{name: "one in which nothing was said", in: updateRequest{im.Direct(ann, cem), &yes, nil, nil}, err: im.NotFound},
		{name: "P6: a group that one is not in", in: updateRequest{im.Group("tttttttttttttttt"), &yes, nil, nil}, err: im.NotFound},
		{name: "a group that there is not", in: updateRequest{im.Group("gggggggggggggggg"), &yes, nil, nil}, err: im.NotFound},

		{name: "an inbox that is down", in: updateRequest{direct, &yes, nil, nil}, down: "inbox", err: im.Unavailable},
		{name: "members that are down", in: updateRequest{group, &yes, nil, nil}, down: "members", err: im.Unavailable},
		{name: "a change that fails", in: updateRequest{direct, &yes, nil, nil}, down: "change", err: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, b := &shelf{}, &book{states: tt.was}
			r := roster{groups: map[string][]string{staff: {ann, bob}, "tttttttttttttttt": {bob}}}
			for i := range 3 {
				s.put(ann, i+1, direct, im.ClassUnread)
			}
			s.put(ann, 4, direct, im.ClassQuiet)
			s.put(ann, 5, im.Group(gone), im.ClassShown)
			switch tt.down {
			case "inbox":
				s.err = errDown
			case "members":
				r.err = errDown
			case "change":
				b.err = errDown
			}
			_, err := update(b.change, s, r)(t.Context(), im.Caller{User: ann}, tt.in)
			if tt.err != "" {
				if im.KindOf(err) != tt.err || len(b.notices) > 0 {
					t.Errorf("error = %v, want kind %s; told %v", err, tt.err, b.notices)
				}
				return
			}
			if err != nil || b.states[tt.in.Conversation] != tt.want {
				t.Fatalf("error = %v; kept %+v, want %+v", err, b.states[tt.in.Conversation], tt.want)
			}
			if tt.told == "" {
				if len(b.notices) > 0 {
					t.Errorf("told %+v", b.notices)
				}
				return
			}
			if len(b.notices) != 1 {
				t.Fatalf("told %+v", b.notices)
			}
			n := b.notices[0]
			if n.Type != im.ConversationUpdated || !n.Quiet || n.From != ann || n.Conversation != tt.in.Conversation ||
				!slices.Equal(n.To, []string{ann}) || string(n.Data) != tt.told {
				t.Errorf("told %+v %s, want %s", n, n.Data, tt.told)
			}
		})
	}

	t.Run("and one is told the same of a group whether there is one or not", func(t *testing.T) {
		do := update((&book{}).change, &shelf{}, roster{groups: map[string][]string{staff: {bob}}})
		_, one := do(t.Context(), im.Caller{User: ann}, updateRequest{group, &yes, nil, nil})
		_, other := do(t.Context(), im.Caller{User: ann}, updateRequest{im.Group(gone), &yes, nil, nil})
		if fmt.Sprint(im.ProblemOf(one)) != fmt.Sprint(im.ProblemOf(other)) {
			t.Errorf("%v is not %v", one, other)
		}
	})
}
