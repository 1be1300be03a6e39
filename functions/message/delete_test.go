package message

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

func TestDelete(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	a, b, c := said(direct, ann, 3*time.Hour), said(direct, bob, 2*time.Hour), said(direct, ann, time.Hour)
	b.Text, b.Recalled, b.Revision = "", true, 3
	g, h := said(group, ann, time.Hour), said(im.Group(gone), ann, time.Hour)
	n := said(group, ann, time.Hour)
	n.Kind, n.Text, n.Data = im.KindNotice, "", json.RawMessage(`{"type":"group.updated"}`)
	never := im.NewMessageID(im.TimeOf(time.Now().Add(-time.Hour)))
	many := make([]string, maxDeleted+1)
	for i := range many {
		many[i] = a.ID
	}
	for _, tt := range []struct {
		name  string
		by    string
		from  im.Conversation
		ids   []string
		had   []string // user + message
		has   []string // likewise, of the inboxes of those who are in no group
		down  bool     // inboxes are
		fresh []string // what the caller is told of
		want  error
	}{
		{name: "one's own", by: ann, from: direct, ids: []string{a.ID}, fresh: []string{a.ID}},
		{name: "another's, and one that was recalled", by: ann, from: direct, ids: []string{b.ID, c.ID}, fresh: []string{b.ID, c.ID}},
		{name: "one twice is one", by: ann, from: direct, ids: []string{a.ID, a.ID}, fresh: []string{a.ID}},
		{name: "again", by: ann, from: direct, ids: []string{a.ID}, had: []string{ann + a.ID}},
		{name: "again, and another", by: ann, from: direct, ids: []string{c.ID, a.ID}, had: []string{ann + a.ID}, fresh: []string{c.ID}},
		{name: "what somebody else has deleted", by: ann, from: direct, ids: []string{a.ID}, had: []string{bob + a.ID}, fresh: []string{a.ID}},
		{name: "by a member who is muted", by: dave, from: group, ids: []string{g.ID}, fresh: []string{g.ID}},
		{name: "a notice", by: cleo, from: group, ids: []string{n.ID}, fresh: []string{n.ID}},
		{name: "as many as may be", by: ann, from: direct, ids: many[1:], fresh: []string{a.ID}},
		{name: "one more", by: ann, from: direct, ids: many, want: im.TooLarge},
		{name: "none", by: ann, from: direct, want: im.Invalid},
		{name: "what there is not, with what there is", by: ann, from: direct, ids: []string{a.ID, never}, want: im.NotFound},
		{name: "of another conversation", by: ann, from: direct, ids: []string{g.ID}, want: im.NotFound},
		{name: "of others", by: eve, from: direct, ids: []string{a.ID}, want: im.Denied},
		{name: "of a group of others", by: eve, from: group, ids: []string{g.ID}, want: im.NotFound},
		{name: "of a group that there is not", by: ann, from: im.Group(gone), ids: []string{h.ID}, want: im.NotFound},
		{name: "what one has of a group that one has left", by: eve, from: group, ids: []string{g.ID, n.ID}, has: []string{eve + g.ID, eve + n.ID}, fresh: []string{g.ID, n.ID}},
		{name: "of it what one does not have, with what one has", by: eve, from: group, ids: []string{g.ID, n.ID}, has: []string{eve + g.ID}, want: im.NotFound},
		{name: "what another has who has left", by: eve, from: group, ids: []string{g.ID}, has: []string{ann + g.ID}, want: im.NotFound},
		{name: "of a group that was dissolved", by: ann, from: im.Group(gone), ids: []string{h.ID}, has: []string{ann + h.ID}, fresh: []string{h.ID}},
		{name: "of it, again", by: ann, from: im.Group(gone), ids: []string{h.ID}, has: []string{ann + h.ID}, had: []string{ann + h.ID}},
		{name: "of others, which one cannot have", by: eve, from: direct, ids: []string{a.ID}, has: []string{eve + a.ID}, want: im.Denied},
		{name: "of a group, while inboxes are down", by: eve, from: group, ids: []string{g.ID}, down: true, want: im.Unavailable},
		{name: "as a member, while inboxes are down", by: dave, from: group, ids: []string{g.ID}, down: true, fresh: []string{g.ID}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := newBook(a, b, c, g, h, n)
			all.inboxes, all.inboxesDown = tt.has, tt.down
			for _, key := range tt.had {
				all.deleted[key] = true
			}
			had, messages := maps.Clone(all.deleted), maps.Clone(all.messages)
			_, err := (&remover{all.change, all}).call(t.Context(), im.Caller{User: tt.by}, deleteRequest{tt.from, tt.ids})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			for _, id := range tt.fresh {
				had[tt.by+id] = true
			}
			if !maps.Equal(all.deleted, had) {
				t.Errorf("deleted %v, want %v", all.deleted, had)
			}
			if !reflect.DeepEqual(all.messages, messages) {
				t.Errorf("messages became %v", all.messages)
			}
			if tt.fresh == nil {
				if len(all.notices) > 0 {
					t.Errorf("told %+v", all.notices)
				}
				return
			}
			slices.Sort(tt.fresh)
			n, data := told(t, all, im.MessageDeleted)
			var ids []string
			for _, id := range data["messages"].([]any) {
				ids = append(ids, id.(string))
			}
			if n.From != tt.by || n.Conversation != tt.from || !slices.Equal(ids, tt.fresh) || len(data) != 1 {
				t.Errorf("told %+v %s", n, n.Data)
			}
			if len(n.Amended) != len(tt.fresh) {
				t.Errorf("the inbox is to hold %+v", n.Amended)
			}
			for _, s := range n.Amended {
				m := messages[s.ID]
				want := im.Message{ID: m.ID, Conversation: m.Conversation, Time: m.Time, From: m.From, Kind: im.KindDeleted, Revision: 1 << 30}
				if !slices.Contains(tt.fresh, s.ID) || !reflect.DeepEqual(s, want) {
					t.Errorf("the inbox is to hold %+v in place of %+v", s, m)
				}
			}
		})
	}
}

// The predecessor let whoever knew its id empty an entry of anybody's inbox.
func TestP6DeletingEmptiesNobodyElsesInbox(t *testing.T) {
	direct := im.Direct(ann, bob)
	m := said(direct, bob, time.Hour)
	for _, by := range []string{ann, bob} {
		b := newBook(m)
		if _, err := (&remover{b.change, b}).call(t.Context(), im.Caller{User: by}, deleteRequest{direct, []string{m.ID}}); err != nil {
			t.Fatal(err)
		}
		n, _ := told(t, b, im.MessageDeleted)
		if !slices.Equal(n.To, []string{by}) || n.From != by {
			t.Errorf("what %s deletes is emptied in the inboxes of %q and of %s", by, n.To, n.From)
		}
		if len(b.deleted) != 1 || !b.deleted[by+m.ID] {
			t.Errorf("deleted %v", b.deleted)
		}
	}
}
