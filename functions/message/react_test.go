package message

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func TestReact(t *testing.T) {
	direct, group := im.Direct(ann, bob), im.Group(staff)
	notice := said(group, ann, 0)
	notice.Kind, notice.Text, notice.Data = im.KindNotice, "", json.RawMessage(`{"type":"group.updated"}`)
	recalled := said(direct, ann, 0)
	recalled.Text, recalled.Recalled, recalled.Revision = "", true, 1
	var full []string
	for i := range maxEmoji {
		full = append(full, bob+string(rune(0x1f600+i)))
	}
	for _, tt := range []struct {
		name   string
		m      im.Message
		by     string
		emoji  string // "" is 👍
		off    bool
		had    []string
		policy string
		muted  bool
		same   bool // nothing changes
		want   error
	}{
		{name: "to one's own message", m: said(direct, ann, 0), by: ann},
		{name: "to another's", m: said(direct, ann, 0), by: bob},
		{name: "beside another's of the same emoji", m: said(direct, ann, 0), by: ann, had: []string{bob + "👍"}},
		{name: "again", m: said(direct, ann, 0), by: bob, had: []string{bob + "👍"}, same: true},
		{name: "taking it off", m: said(direct, ann, 0), by: bob, had: []string{bob + "👍"}, off: true},
		{name: "taking it off again", m: said(direct, ann, 0), by: bob, off: true, same: true},
		{name: "taking off another's", m: said(direct, ann, 0), by: ann, had: []string{bob + "👍"}, off: true, same: true},
		{name: "with one emoji too many", m: said(direct, ann, 0), by: ann, had: full, want: im.Conflict},
		{name: "with the last one that there is room for", m: said(direct, ann, 0), by: ann, had: full[1:]},
		{name: "with one of those that are there", m: said(direct, ann, 0), by: ann, had: full, emoji: full[3][16:]},
		{name: "taking one of many off", m: said(direct, ann, 0), by: bob, had: full, emoji: full[3][16:], off: true},
		{name: "with a word", m: said(direct, ann, 0), by: ann, emoji: "like", want: im.Invalid},
		{name: "to a message that was recalled", m: recalled, by: ann, want: im.Conflict},
		{name: "to a notice", m: notice, by: ann, want: im.Denied},
		{name: "of a third one", m: said(direct, ann, 0), by: eve, want: im.Denied},
		{name: "where there is a block", m: said(im.Direct(ann, cleo), cleo, 0), by: ann, want: im.Denied},
		{name: "of a stranger where only friends may", m: said(direct, ann, 0), by: bob, policy: im.DirectFriends, want: im.Denied},
		{name: "of a member", m: said(group, ann, 0), by: cleo},
		{name: "of a member who is muted", m: said(group, ann, 0), by: dave, want: im.Denied},
		{name: "of a member while all are muted", m: said(group, ann, 0), by: cleo, muted: true, want: im.Denied},
		{name: "of the owner while all are muted", m: said(group, cleo, 0), by: ann, muted: true},
		{name: "of who is not in the group", m: said(group, ann, 0), by: eve, want: im.Denied},
		{name: "in a group that there is not", m: said(im.Group(gone), ann, 0), by: ann, want: im.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.emoji == "" {
				tt.emoji = "👍"
			}
			if tt.policy == "" {
				tt.policy = im.DirectOpen
			}
			b := newBook(tt.m)
			b.muted = tt.muted
			b.reactions[tt.m.ID] = tt.had
			on := !tt.off
			in := reactRequest{target{tt.m.Conversation, tt.m.ID}, tt.emoji, &on}
			_, err := react(b.change, tt.policy)(t.Context(), im.Caller{User: tt.by}, in)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			got := b.reactions[tt.m.ID]
			if tt.want != nil || tt.same {
				if len(b.notices) > 0 || !slices.Equal(got, tt.had) {
					t.Errorf("changed to %q, told %+v", got, b.notices)
				}
				return
			}
			if slices.Contains(got, tt.by+tt.emoji) != on || b.messages[tt.m.ID].Revision != 0 {
				t.Errorf("there are %q", got)
			}
			n, data := told(t, b, im.MessageReacted)
			if n.From != tt.by || n.Conversation != tt.m.Conversation || n.To != nil || n.Amended != nil ||
				data["message"] != tt.m.ID || data["emoji"] != tt.emoji || data["on"] != on || len(data) != 3 {
				t.Errorf("told %+v %s", n, n.Data)
			}
		})
	}
}

func TestAReactionSaysWhetherItIsPutOnOrTakenOff(t *testing.T) {
	m := said(im.Direct(ann, bob), ann, 0)
	b := newBook(m)
	b.reactions[m.ID] = []string{ann + "👍"}
	in := reactRequest{target: target{m.Conversation, m.ID}, Emoji: "👍"}
	if _, err := react(b.change, im.DirectOpen)(t.Context(), im.Caller{User: ann}, in); !errors.Is(err, im.Invalid) || len(b.reactions[m.ID]) != 1 {
		t.Errorf("%v, left %q", err, b.reactions)
	}
}
