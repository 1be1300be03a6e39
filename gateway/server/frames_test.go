package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func TestTheFirstFrameSaysWhoAndHowFar(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	t.Run("the head is known to Redis", func(t *testing.T) {
		ann := someone("web")
		if err := s.redis.RaiseHeads(t.Context(), map[string]int64{ann.User: 7}); err != nil {
			t.Fatal(err)
		}
		p := s.dial(g, ann)
		w := p.welcome
		if w.User != ann.User || w.Device != ann.Device || !im.IsID(w.Conn) || w.IdleSecs != 60 || w.Head != 7 {
			t.Errorf("welcome %+v", w)
		}
		if d := time.Since(w.Time.Std()); d < 0 || d > patience {
			t.Errorf("the server's clock is %s behind", d)
		}
		if d := time.Until(w.Expires.Std()); d < 59*time.Minute || d > time.Hour {
			t.Errorf("the token expires in %s", d)
		}
	})
	t.Run("the head is known to inbox-heads", func(t *testing.T) {
		s.heads = func(event.Heads) (event.HeadsAnswer, error) { return event.HeadsAnswer{Heads: map[string]int64{}}, nil }
		bob := someone("web")
		s.heads = func(event.Heads) (event.HeadsAnswer, error) {
			return event.HeadsAnswer{Heads: map[string]int64{bob.User: 9}}, nil
		}
		if head := s.dial(g, bob).welcome.Head; head != 9 {
			t.Errorf("head %d, want 9", head)
		}
	})
	t.Run("the head is not known", func(t *testing.T) {
		s.heads = func(event.Heads) (event.HeadsAnswer, error) {
			return event.HeadsAnswer{}, im.Errorf(im.Unavailable, "the store is down")
		}
		if head := s.dial(g, someone("web")).welcome.Head; head != -1 {
			t.Errorf("head %d, want -1", head)
		}
	})
}

func TestFrames(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	bob := im.NewID()
	for _, tt := range []struct {
		name string
		op   int // 0 is text
		say  string
		want frame.FromServer // Type, ID and Kind count; Type "" is silence
		says string           // within Detail
	}{
		{name: "a message", say: `{"type":"send","id":"m1","to":"u:` + bob + `","text":"hi"}`, want: frame.FromServer{Type: frame.Accepted, ID: "m1"}},
		{name: "a message to nobody", say: `{"type":"send","id":"m1","to":"u:nobody","text":"hi"}`, want: frame.FromServer{Type: frame.Refused, ID: "m1", Kind: im.Invalid}, says: "names no user"},
		{name: "a message without an id", say: `{"type":"send","to":"u:` + bob + `","text":"hi"}`, want: frame.FromServer{Type: frame.Refused, Kind: im.Invalid}, says: "id"},
		{name: "a message without a text", say: `{"type":"send","id":"m2","to":"u:` + bob + `"}`, want: frame.FromServer{Type: frame.Refused, ID: "m2", Kind: im.Invalid}, says: "text"},
		{name: "a text that is too long", say: `{"type":"send","id":"m3","to":"u:` + bob + `","text":"` + strings.Repeat("x", im.MaxText+1) + `"}`, want: frame.FromServer{Type: frame.Refused, ID: "m3", Kind: im.TooLarge}},
		{name: "a conversation of others", say: `{"type":"send","id":"m4","to":"` + string(im.Direct(bob, im.NewID())) + `","text":"hi"}`, want: frame.FromServer{Type: frame.Refused, ID: "m4", Kind: im.Denied}},
		{name: "a message whose text is a number", say: `{"type":"send","id":"m5","to":"u:` + bob + `","text":5}`, want: frame.FromServer{Type: frame.Refused, ID: "m5", Kind: im.Invalid}},
		{name: "a ping", say: `{"type":"ping"}`, want: frame.FromServer{Type: frame.Pong}},
		{name: "typing", say: `{"type":"typing","to":"u:` + bob + `"}`},
		{name: "a signal", say: `{"type":"signal","to":"u:` + bob + `","data":{"offer":1}}`},
		{name: "a signal to nobody", say: `{"type":"signal","to":"x","data":{"offer":1}}`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}},
		{name: "nonsense as a token", say: `{"type":"token","token":"nonsense"}`, want: frame.FromServer{Type: frame.Error, Kind: im.Unauthenticated}},
		{name: "no JSON", say: `hello`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}},
		{name: "an array", say: `[]`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}},
		{name: "a type that is none", say: `{"type":"shout"}`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}, says: "shout"},
		{name: "no type", say: `{}`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}, says: "type"},
		{name: "broken UTF-8", say: "{\"type\":\"send\",\"id\":\"\xff\"}", want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}, says: "UTF-8"},
		{name: "a binary frame", op: websocket.BinaryMessage, say: `{"type":"ping"}`, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}, says: "binary"},
		{name: "an empty frame", say: ``, want: frame.FromServer{Type: frame.Error, Kind: im.Invalid}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := s.dial(g, someone("web"))
			op := tt.op
			if op == 0 {
				op = websocket.TextMessage
			}
			p.write(op, []byte(tt.say))
			if tt.want.Type != "" {
				f := p.next(tt.want.Type)
				if f.ID != tt.want.ID || f.Kind != tt.want.Kind || !strings.Contains(f.Detail, tt.says) {
					t.Errorf("got %+v, want %+v saying %q", f, tt.want, tt.says)
				}
			}
			// Whatever it was, the connection goes on, and nothing else is said.
			p.say(`{"type":"ping"}`)
			p.next(frame.Pong)
		})
	}
}

func TestFramesThatEndTheConnection(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	t.Run("a frame that is too large", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		p.write(websocket.TextMessage, bytes.Repeat([]byte("x"), im.MaxFrame+1))
		p.closed(frame.Close{Code: websocket.CloseMessageTooBig, Reason: "too-large"})
	})
	t.Run("a frame that is far too large, in parts", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		w, err := p.ws.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		for range 64 {
			if _, err := w.Write(bytes.Repeat([]byte("x"), im.MaxFrame)); err != nil {
				break // closed already
			}
		}
		p.closed(frame.Close{Code: websocket.CloseMessageTooBig, Reason: "too-large"})
	})
	t.Run("a frame of the largest size is read", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		p.write(websocket.TextMessage, append([]byte(`{"type":"ping"}`), bytes.Repeat([]byte(" "), im.MaxFrame-15)...))
		p.next(frame.Pong)
	})
	t.Run("one after another that makes no sense", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		for i := range 9 {
			p.say("nonsense %d", i)
			p.next(frame.Error)
		}
		p.say(`{"type":"ping"}`) // makes sense
		p.next(frame.Pong)
		for i := range 10 {
			p.say("nonsense %d", i)
		}
		p.closed(frame.CloseProtocol)
	})
	t.Run("a close of the client is answered", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		p.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye"))
		var ce *websocket.CloseError
		if err := <-p.end; !errors.As(err, &ce) || ce.Code != websocket.CloseGoingAway {
			t.Errorf("answered by %v", err)
		}
	})
}

func TestRefreshingATokenInPlace(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	p := s.dial(g, someone("web"))
	for _, tt := range []struct {
		name  string
		who   im.Caller
		ttl   time.Duration
		kind  im.Kind // of the error; "" is success
		later time.Duration
	}{
		{name: "a fresh one", who: p.Caller, ttl: 2 * time.Hour, later: 2 * time.Hour},
		{name: "one that ends earlier takes nothing away", who: p.Caller, ttl: time.Minute, later: 2 * time.Hour},
		{name: "another user's", who: someone("web"), ttl: time.Hour, kind: im.Denied},
		{name: "another session's", who: im.Caller{User: p.User, Session: im.NewID(), Device: p.Device, Platform: p.Platform}, ttl: time.Hour, kind: im.Denied},
		{name: "an expired one", who: p.Caller, ttl: -time.Hour, kind: im.Unauthenticated},
	} {
		p.say(`{"type":"token","token":%q}`, s.token(tt.who, tt.ttl))
		if tt.kind != "" {
			if f := p.next(frame.Error); f.Kind != tt.kind {
				t.Errorf("%s: %+v, want kind %s", tt.name, f, tt.kind)
			}
			continue
		}
		f := p.next(frame.Token)
		if d := time.Until(f.Expires.Std()); d < tt.later-time.Minute || d > tt.later {
			t.Errorf("%s: expires in %s, want %s", tt.name, d, tt.later)
		}
	}
}

func TestTypingAndSignalsArePassedOn(t *testing.T) {
	s := newSystem(t)
	g := s.gateway()
	p := s.dial(g, someone("web"))
	bob := im.NewID()
	for range 5 { // one for each key
		p.say(`{"type":"typing","to":"u:%s"}`, bob)
	}
	p.say(`{"type":"typing","to":"u:%s"}`, im.NewID())
	p.say(`{"type":"signal","to":"u:%s","data":{"offer":1}}`, bob)
	imtest.Eventually(t, "three signals arrive", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.signals) != 3 {
			return fmt.Errorf("there are %d", len(s.signals))
		}
		return nil
	})
	conv := im.Direct(p.User, bob)
	for i, want := range []string{
		fmt.Sprintf(`{"type":"typing","conversation":%q,"from":%q}`, conv, p.User),
		"", // to somebody else
		fmt.Sprintf(`{"type":"signal","device":"device-1","conversation":%q,"from":%q,"data":{"offer":1}}`, conv, p.User),
	} {
		got := s.signals[i]
		if got.From != p.User || got.Device != p.Device {
			t.Errorf("signal %d is from %+v", i, got)
		}
		if want != "" && string(got.Frame) != want {
			t.Errorf("signal %d is\n%s, want\n%s", i, got.Frame, want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("SEND_RATE", "1", "SEND_BURST", "3")
	t.Run("what goes beyond is refused for a while", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		for i := range 4 {
			p.send(fmt.Sprint("m", i), im.NewID())
		}
		refused := 0
		for range 4 {
			f := <-p.frames
			if f.Type == frame.Refused {
				refused++
				if f.ID != "m3" || f.Kind != im.Overloaded || f.RetryAfterMS < 1 || f.RetryAfterMS > 1000 {
					t.Errorf("refused by %+v", f)
				}
			}
		}
		if refused != 1 {
			t.Errorf("%d of 4 were refused, want the last", refused)
		}
	})
	t.Run("who goes on is closed", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		for i := range 3 + 30 + 1 {
			p.send(fmt.Sprint("m", i), im.NewID())
		}
		if bye := p.closed(frame.CloseFlooding); bye.RetryAfterMS < 10_000 {
			t.Errorf("may come back after %d ms", bye.RetryAfterMS)
		}
	})
	t.Run("other frames have a limit of their own", func(t *testing.T) {
		p := s.dial(g, someone("web"))
		for range 10 {
			p.say(`{"type":"ping"}`)
		}
		for range 3 {
			p.next(frame.Pong)
		}
		p.quiet(100 * time.Millisecond)
		p.send("m1", im.NewID())
		p.next(frame.Accepted)
	})
}

// None of what chat-ingest did not say itself is final.
func TestWhatIsWrongWithChatIngestIsNoFaultOfTheMessage(t *testing.T) {
	s := newSystem(t)
	for _, tt := range []struct {
		name string
		vars []string
		f    func(context.Context, []event.Submitted) []fn.Reply[event.Placed]
		kind im.Kind
	}{
		{name: "it is not there", vars: []string{"FUNCTION_URL", "http://127.0.0.1:1/{function}"}, kind: im.Unavailable},
		{name: "its platform does not know it", vars: []string{"FUNCTION_URL", s.vars["FUNCTION_URL"] + "/nowhere"}, kind: im.Unavailable},
		{name: "the seal is of another system", vars: []string{"SEAL_KEYS", "k2:" + strings.Repeat("QUJD", 11)}, kind: im.Internal},
		{name: "it says no", f: func(context.Context, []event.Submitted) []fn.Reply[event.Placed] {
			return []fn.Reply[event.Placed]{{Err: im.Errorf(im.NotFound, "there is no such user")}}
		}, kind: im.NotFound},
		{name: "a dependency of it is down", f: func(context.Context, []event.Submitted) []fn.Reply[event.Placed] {
			return []fn.Reply[event.Placed]{{Err: &im.Error{Kind: im.Unavailable, Msg: "Kafka rests", RetryAfter: time.Second}}}
		}, kind: im.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.f == nil {
				tt.f = accept
			}
			s.onIngest(tt.f)
			p := s.dial(s.gateway(tt.vars...), someone("web"))
			p.send("m1", im.NewID())
			if f := p.next(frame.Refused); f.ID != "m1" || f.Kind != tt.kind || f.Detail == "" {
				t.Errorf("%+v, want kind %s", f, tt.kind)
			}
		})
	}
}
