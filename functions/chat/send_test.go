package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

var caller = im.Caller{User: ann, Session: "ssssssssssssssss", Device: "bot", Platform: "bot"}

func TestSend(t *testing.T) {
	reply := im.NewMessageID(noon)
	for _, tt := range []struct {
		name   string
		in     sendRequest
		policy string
		want   error // nil is accepted
	}{
		{name: "to a user", in: sendRequest{To: "u:" + bob, Text: "hello", ID: "1"}},
		{name: "to a group one is in, in answer to a message", in: sendRequest{To: "g:" + staff, Text: "hello", ID: "1", ReplyTo: reply}},
		{name: "under an id that is made for it", in: sendRequest{To: "u:" + bob, Text: "hello"}},

		{name: "to a user that there is not", in: sendRequest{To: "u:" + nobody, Text: "hello"}, want: im.NotFound},
		{name: "to a user with whom there is a block", in: sendRequest{To: "u:" + cleo, Text: "hello"}, want: im.Denied},
		{name: "to a stranger where only friends may", in: sendRequest{To: "u:" + bob, Text: "hello"}, policy: im.DirectFriends, want: im.Denied},
		{name: "to a group one is not in", in: sendRequest{To: "g:" + others, Text: "hello"}, want: im.Denied},
		{name: "to a conversation of others", in: sendRequest{To: string(im.Direct(bob, cleo)), Text: "hello"}, want: im.Denied},
		{name: "to nowhere", in: sendRequest{Text: "hello"}, want: im.Invalid},
		{name: "without a text", in: sendRequest{To: "u:" + bob}, want: im.Invalid},
		{name: "too long a text", in: sendRequest{To: "u:" + bob, Text: strings.Repeat("x", im.MaxText+1)}, want: im.TooLarge},
		{name: "under an id of spaces", in: sendRequest{To: "u:" + bob, Text: "hello", ID: "a b"}, want: im.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			if tt.policy != "" {
				f.guard.policy = tt.policy
			}
			got, err := f.ingest.send(t.Context(), caller, tt.in)
			if !errors.Is(err, tt.want) {
				t.Fatalf("answer %+v, %v, want %v", got, err, tt.want)
			}
			if tt.want != nil {
				if len(f.book.written) > 0 || len(f.desk.calls) > 0 || got.ID != "" {
					t.Errorf("refused, and yet placed %v and written %v", f.desk.calls, f.book.written)
				}
				return
			}
			var data event.Accepted
			if err := json.Unmarshal(f.book.written[0].Data, &data); err != nil {
				t.Fatal(err)
			}
			m := data.Message
			if m.ID != got.ID || m.Time != got.Time || m.Conversation != got.Conversation || m.From != ann || m.Text != tt.in.Text || m.ReplyTo != tt.in.ReplyTo {
				t.Errorf("written %+v, answered %+v", m, got)
			}
			if id := tt.in.ID; m.ClientID != id && (id != "" || m.ClientID == "") {
				t.Errorf("the id of the client is %q, want %q", m.ClientID, id)
			}
		})
	}
}

// The same is said of a message whichever way it comes.
func TestP6SendingByACallIsRefusedInTheSameWords(t *testing.T) {
	for _, to := range []string{"u:" + nobody, "u:" + cleo, "g:" + others, "g:" + noGroup, string(im.Direct(bob, cleo)), "u:" + ann, ""} {
		f := newFixture(t)
		bySocket := f.send(t, text(ann, to, "1", "hello"))[0].Err
		_, byCall := f.ingest.send(t.Context(), caller, sendRequest{To: to, Text: "hello", ID: "1"})
		if bySocket == nil || byCall == nil || bySocket.Error() != byCall.Error() {
			t.Errorf("to %s: by a socket %v, by a call %v", to, bySocket, byCall)
		}
	}
}

func TestP5AMessageSentByACallAndBySocketIsOne(t *testing.T) {
	f := newFixture(t)
	in := sendRequest{To: "u:" + bob, Text: "hello", ID: "1"}
	first, err := f.ingest.send(t.Context(), caller, in)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.ingest.send(t.Context(), caller, in); err != nil || again != first {
		t.Errorf("again %+v, %v; first %+v", again, err, first)
	}
	if r := f.send(t, text(ann, "u:"+bob, "1", "hello"))[0]; r.Err != nil || r.Value != first {
		t.Errorf("by a socket %+v, first %+v", r, first)
	}
	in.Text = "another"
	if _, err := f.ingest.send(t.Context(), caller, in); !errors.Is(err, im.Conflict) {
		t.Errorf("another message under the same id: %v", err)
	}
	a, err1 := f.ingest.send(t.Context(), caller, sendRequest{To: "u:" + bob, Text: "hello"})
	b, err2 := f.ingest.send(t.Context(), caller, sendRequest{To: "u:" + bob, Text: "hello"})
	if err1 != nil || err2 != nil || a.ID == b.ID {
		t.Errorf("two without an id are %v, %v and %v, %v", a, err1, b, err2)
	}
}
