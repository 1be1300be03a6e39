package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// A socket is a connection used frame by frame, as a client with a fault would.
type socket struct {
	t *testing.T
	*websocket.Conn
}

func dial(t *testing.T, url string, tokens client.Tokens) socket {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{frame.Subprotocol}, HandshakeTimeout: time.Minute}
	c, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/ws", http.Header{"Authorization": {"Bearer " + tokens.AccessToken}})
	if err != nil {
		t.Fatalf("dialing: %v (%v)", err, resp)
	}
	t.Cleanup(func() { c.Close() })
	s := socket{t, c}
	s.next(frame.Welcome)
	return s
}

// next returns the next frame that is of one of these types.
func (s socket) next(types ...string) frame.FromServer {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(imtest.Patience(s.t)))
	for {
		_, b, err := s.ReadMessage()
		if err != nil {
			s.t.Fatalf("waiting for %v: %v", types, err)
		}
		var f frame.FromServer
		if err := json.Unmarshal(b, &f); err != nil {
			s.t.Fatalf("%s: %v", b, err)
		}
		for _, typ := range types {
			if f.Type == typ {
				return f
			}
		}
	}
}

func (s socket) say(b string) {
	s.t.Helper()
	if err := s.WriteMessage(websocket.TextMessage, []byte(b)); err != nil {
		s.t.Fatal(err)
	}
}

// Bad input gets a clear answer, and the connection goes on.
func TestBadInputIsAnsweredAndLosesNothing(t *testing.T) {
	t.Parallel()
	url := system.OneProcess(t, noop.NewTracerProvider().Tracer(""))
	api := &client.API{URL: url}
	signUp := func(account string) client.Tokens {
		t.Helper()
		if _, err := api.Register(t.Context(), account, account, "correct horse battery"); err != nil {
			t.Fatal(err)
		}
		tokens, err := api.Login(t.Context(), account, "correct horse battery", "d", "web")
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	ann, bob, eve := signUp("ann"), signUp("bob"), signUp("eve")
	group, err := api.CreateGroup(t.Context(), eve.AccessToken, "without ann", []string{bob.User.ID})
	if err != nil {
		t.Fatal(err)
	}
	s := dial(t, url, ann)

	send := func(id, to, text string) string {
		b, err := json.Marshal(map[string]string{"type": "send", "id": id, "to": to, "text": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	s.say(send("first", "u:"+bob.User.ID, "hello"))
	first := s.next(frame.Accepted, frame.Refused)
	if first.Type != frame.Accepted {
		t.Fatalf("%+v", first)
	}
	for i, tt := range []struct {
		name, frame string
		want        im.Kind
	}{
		{"a message to oneself", send("", "u:"+ann.User.ID, "hi"), im.Invalid},
		{"a message to nobody", send("", "u:"+im.NewID(), "hi"), im.NotFound},
		{"a message to what is no user", send("", "u:bob", "hi"), im.Invalid},
		{"an unknown group", send("", "g:"+im.NewID(), "hi"), im.Denied},
		{"a group one is not in", send("", string(group.Conversation), "hi"), im.Denied},
		{"a conversation one is not in", send("", string(im.Direct(bob.User.ID, eve.User.ID)), "hi"), im.Denied},
		{"too long a text", send("", "u:"+bob.User.ID, strings.Repeat("x", im.MaxText+1)), im.TooLarge},
		{"no text", send("", "u:"+bob.User.ID, ""), im.Invalid},
		{"an unknown kind", `{"type":"send","id":"ID","to":"u:` + bob.User.ID + `","kind":"poem","text":"x"}`, im.Invalid},
		{"a notice, which only the system sends", `{"type":"send","id":"ID","to":"u:` + bob.User.ID + `","kind":"notice","text":"x"}`, im.Invalid},
		{"a wrong type", `{"type":"send","id":"ID","to":"u:` + bob.User.ID + `","text":7}`, im.Invalid},
		{"a reply to nonsense", `{"type":"send","id":"ID","to":"u:` + bob.User.ID + `","text":"x","reply_to":"yesterday"}`, im.Invalid},
		{"the id of another message", send("first", "u:"+bob.User.ID, "something else"), im.Conflict},
		{"an unknown type of frame", `{"type":"shout"}`, im.Invalid},
		{"no JSON", `hello?`, im.Invalid},
		{"nothing", ``, im.Invalid},
	} {
		id := fmt.Sprintf("bad-%d", i)
		b := strings.Replace(strings.Replace(tt.frame, `"id":""`, `"id":"`+id+`"`, 1), `"id":"ID"`, `"id":"`+id+`"`, 1)
		s.say(b)
		got := s.next(frame.Accepted, frame.Refused, frame.Error)
		if got.Type == frame.Accepted || got.Kind != tt.want || got.Detail == "" {
			t.Errorf("%s: %+v, want kind %s", tt.name, got, tt.want)
		}
		if got.Type == frame.Refused && got.ID != id && got.ID != "first" {
			t.Errorf("%s: the refusal is of %q", tt.name, got.ID)
		}
		if i%5 == 4 { // and in between all is well
			s.say(send("good-"+id, "u:"+bob.User.ID, "still here"))
			if got := s.next(frame.Accepted, frame.Refused, frame.Error); got.Type != frame.Accepted || got.ID != "good-"+id {
				t.Errorf("after %s: %+v", tt.name, got)
			}
		}
	}
	if err := s.WriteMessage(websocket.TextMessage, []byte("{\"type\":\"ping\",\"x\":\"\xff\"}")); err != nil {
		t.Fatal(err)
	}
	if got := s.next(frame.Error, frame.Pong); got.Type != frame.Error || !strings.Contains(got.Detail, "UTF-8") {
		t.Errorf("broken UTF-8: %+v", got)
	}

	// P5: the same id with the same content is the same message.
	s.say(send("first", "u:"+bob.User.ID, "hello"))
	if again := s.next(frame.Accepted, frame.Refused); again.MessageID != first.MessageID || again.Time != first.Time {
		t.Errorf("P5: sent again it is %+v, at first it was %+v", again, first)
	}

	// A frame that is too large ends the connection, and says so.
	s.say(send("large", "u:"+bob.User.ID, strings.Repeat("x", im.MaxFrame)))
	if got := s.next(frame.Bye); got.Code != websocket.CloseMessageTooBig {
		t.Errorf("a frame of more than %d bytes: %+v", im.MaxFrame, got)
	}

	// What was good is there, once, beside the notice of the group.
	imtest.Eventually(t, "bob has what was good", func() error {
		page, err := api.Inbox(t.Context(), bob.AccessToken, 0, 100)
		if err != nil {
			return err
		}
		if len(page.Entries) != 5 || page.Head != 5 {
			return fmt.Errorf("%d entries, head %d", len(page.Entries), page.Head)
		}
		return nil
	})
}
