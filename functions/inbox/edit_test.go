package inbox

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tidings-im/tidings/shared/im"
)

func noticeOf(t *testing.T, typ string, data any) json.RawMessage {
	t.Helper()
	n, err := im.NewNotice(typ, im.Direct(ann, bob), ann, data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(n.Message("n1", im.Place{Time: 5, ID: mid(5)}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheNoticeOfAnEditIsToldWithTheTextThatIsLeft(t *testing.T) {
	edited := noticeOf(t, im.MessageEdited, map[string]string{"message": mid(1)})
	for _, tt := range []struct {
		name    string
		notice  json.RawMessage
		message string
		want    string // text in the data; "" is none
	}{
		{"of a text", edited, `{"kind":"text","text":"better \"x\""}`, `better "x"`},
		{"of what was recalled since", edited, `{"kind":"text","text":"","recalled":true}`, ""},
		{"of what was deleted since", edited, `{"kind":"deleted"}`, ""},
		{"of what cannot be read", edited, `{`, ""},
		{"another notice", noticeOf(t, im.MessageRecalled, map[string]string{"message": mid(1)}), `{"kind":"text","text":"x"}`, ""},
		{"a text that looks like one", json.RawMessage(`{"kind":"text","text":"\"data\":{\"type\":\"message.edited\","}`), `{"kind":"text","text":"x"}`, ""},
	} {
		got := withText(tt.notice, json.RawMessage(tt.message))
		var m struct {
			ID   string
			Data struct{ Type, Message, Text string }
		}
		if err := json.Unmarshal(got, &m); err != nil {
			t.Errorf("%s: %s: %v", tt.name, got, err)
		}
		if m.Data.Text != tt.want || tt.want != "" && (m.ID != mid(5) || m.Data.Message != mid(1)) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

type inboxOf map[im.EntryKey]im.Entry

func (in inboxOf) Get(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error) {
	out := map[im.EntryKey]im.Entry{}
	for _, k := range keys {
		if e, ok := in[k]; ok {
			out[k] = e
		}
	}
	return out, nil
}

func TestASyncedEditHasTheTextOfTheUsersOwnEntry(t *testing.T) {
	c := im.Direct(ann, bob)
	entries := []im.Entry{
		{Seq: 1, Message: json.RawMessage(`{"kind":"text","text":"hello"}`)},
		{Seq: 2, Message: noticeOf(t, im.MessageEdited, map[string]string{"message": mid(1)})},
		{Seq: 3, Message: noticeOf(t, im.MessageEdited, map[string]string{"message": mid(2)})},
	}
	own := inboxOf{
		{User: ann, ID: mid(1), Conversation: c}: {Message: json.RawMessage(`{"kind":"text","text":"mine"}`)},
		{User: bob, ID: mid(2), Conversation: c}: {Message: json.RawMessage(`{"kind":"text","text":"another's"}`)},
	}
	if err := fill(t.Context(), own, ann, entries); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "mine", ""} {
		var m struct{ Data struct{ Text string } }
		if err := json.Unmarshal(entries[i].Message, &m); err != nil || m.Data.Text != want {
			t.Errorf("entry %d: %s, %v", i+1, entries[i].Message, err)
		}
	}
}
