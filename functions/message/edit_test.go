package message

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

func TestEdit(t *testing.T) {
	const window = 24 * time.Hour
	direct, blocked, group := im.Direct(ann, bob), im.Direct(ann, cleo), im.Group(staff)
	notice := said(group, ann, 0)
	notice.Kind, notice.Text, notice.Data = im.KindNotice, "", json.RawMessage(`{"type":"group.updated"}`)
	recalled := said(direct, ann, 0)
	recalled.Text, recalled.Recalled, recalled.Revision = "", true, 1
	twice := said(direct, ann, time.Hour)
	twice.Revision, twice.Edited = 7, twice.Time+1
	for _, tt := range []struct {
		name   string
		m      im.Message
		by     string
		text   string // "" is "bye"
		policy string
		muted  bool
		same   bool // nothing changes
		want   error
	}{
		{name: "the sender, within the window", m: said(direct, ann, window-time.Minute), by: ann},
		{name: "the sender, after the window", m: said(direct, ann, window+time.Minute), by: ann, want: im.Denied},
		{name: "what was edited before", m: twice, by: ann},
		{name: "the same text, after the window", m: said(direct, ann, window+time.Minute), by: ann, text: "hello", same: true},
		{name: "the most text", m: said(direct, ann, 0), by: ann, text: strings.Repeat("x", im.MaxText)},
		{name: "too much text", m: said(direct, ann, 0), by: ann, text: strings.Repeat("x", im.MaxText+1), want: im.TooLarge},
		{name: "text with a NUL", m: said(direct, ann, 0), by: ann, text: "a\x00", want: im.Invalid},
		{name: "what was recalled", m: recalled, by: ann, want: im.Conflict},
		{name: "the other of the two", m: said(direct, ann, 0), by: bob, want: im.Denied},
		{name: "a third one", m: said(direct, ann, 0), by: eve, want: im.Denied},
		{name: "the sender, with whom there is a block", m: said(blocked, ann, 0), by: ann, want: im.Denied},
		{name: "the same text, where there is a block", m: said(blocked, ann, 0), by: ann, text: "hello", want: im.Denied},
		{name: "the sender, whom the other does not exist any more for", m: said(im.Direct(ann, eve), ann, 0), by: ann, want: im.NotFound},
		{name: "to a friend where only friends may", m: said(im.Direct(ann, dave), ann, 0), by: ann, policy: im.DirectFriends},
		{name: "to a stranger where only friends may", m: said(direct, ann, 0), by: ann, policy: im.DirectFriends, want: im.Denied},
		{name: "a member of a group", m: said(group, cleo, 0), by: cleo},
		{name: "the owner another's", m: said(group, cleo, 0), by: ann, want: im.Denied},
		{name: "a member who is muted", m: said(group, dave, 0), by: dave, want: im.Denied},
		{name: "a member while all are muted", m: said(group, cleo, 0), by: cleo, muted: true, want: im.Denied},
		{name: "an admin while all are muted", m: said(group, bob, 0), by: bob, muted: true},
		{name: "the sender, who has left the group", m: said(group, eve, 0), by: eve, want: im.Denied},
		{name: "of a group that there is not", m: said(im.Group(gone), ann, 0), by: ann, want: im.Denied},
		{name: "a notice", m: notice, by: ann, want: im.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.text == "" {
				tt.text = "bye"
			}
			if tt.policy == "" {
				tt.policy = im.DirectOpen
			}
			b := newBook(tt.m)
			b.muted = tt.muted
			b.reactions[tt.m.ID] = []string{bob + "👍"}
			got, err := edit(b.change, tt.policy, window)(t.Context(), im.Caller{User: tt.by}, editRequest{target{tt.m.Conversation, tt.m.ID}, tt.text})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			kept := b.messages[tt.m.ID]
			if tt.want != nil || tt.same {
				if len(b.notices) > 0 || kept.Revision != tt.m.Revision || kept.Text != tt.m.Text || kept.Edited != tt.m.Edited {
					t.Errorf("changed to %+v, told %+v", kept, b.notices)
				}
				if tt.same && (got.ID != tt.m.ID || got.Text != tt.text) || tt.want != nil && got.ID != "" {
					t.Errorf("answered %+v", got)
				}
				return
			}
			if got.Text != tt.text || got.Revision != tt.m.Revision+1 || got.Edited <= tt.m.Time || got.ID != tt.m.ID || got.From != tt.m.From || got.ClientID != tt.m.ClientID {
				t.Errorf("answered %+v", got)
			}
			if kept.Text != got.Text || kept.Revision != got.Revision || kept.Edited != got.Edited || len(b.reactions[got.ID]) != 1 {
				t.Errorf("kept %+v with %v", kept, b.reactions)
			}
			n, data := told(t, b, im.MessageEdited)
			if n.From != tt.by || n.Conversation != tt.m.Conversation || n.To != nil ||
				data["message"] != got.ID || data["edited"] != got.Edited.String() || len(data) != 2 { // no text, which stays
				t.Errorf("told %+v %s", n, n.Data)
			}
			if len(n.Amended) != 1 || n.Amended[0].ID != got.ID || n.Amended[0].Revision != got.Revision || n.Amended[0].Text != tt.text || n.Amended[0].Edited != got.Edited {
				t.Errorf("inboxes are to hold %+v", n.Amended)
			}
		})
	}
}

func TestP6AnEditIsRefusedInTheWordsInWhichAMessageIs(t *testing.T) {
	m := said(im.Direct(ann, cleo), ann, 0)
	_, err := edit(newBook(m).change, im.DirectOpen, time.Hour)(t.Context(), im.Caller{User: ann}, editRequest{target{m.Conversation, m.ID}, "x"})
	if want := (im.Relation{Exist: true, Blocked: true}).MayWrite(im.DirectOpen); err == nil || im.ProblemOf(err).Detail != im.ProblemOf(want).Detail {
		t.Errorf("%v, want %v", err, want)
	}
	in, out := said(im.Group(staff), cleo, 0), said(im.Group(gone), cleo, 0)
	_, err1 := edit(newBook(in).change, im.DirectOpen, time.Hour)(t.Context(), im.Caller{User: eve}, editRequest{target{in.Conversation, in.ID}, "x"})
	_, err2 := edit(newBook(out).change, im.DirectOpen, time.Hour)(t.Context(), im.Caller{User: eve}, editRequest{target{out.Conversation, out.ID}, "x"})
	if err1 == nil || err2 == nil || err1.Error() != err2.Error() {
		t.Errorf("of a group: %v, of none: %v", err1, err2)
	}
}
