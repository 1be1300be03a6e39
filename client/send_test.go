package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

func TestSendReturnsWhatTheServerAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		go func() {
			for range 3 {
				d := s.read()
				switch d.Text {
				case "denied":
					s.write(frame.FromServer{Type: frame.Refused, ID: d.ClientID, Kind: im.Denied, Detail: "you are blocked"})
				default:
					s.accept(d)
				}
			}
		}()
		r, err := c.Send(t.Context(), "u:"+bob, "hello")
		if err != nil || r.ID != "m-"+r.ClientID || r.Conversation != im.Direct(ann, bob) || r.Time == 0 {
			t.Errorf("got %+v, %v", r, err)
		}
		r, err = c.Send(t.Context(), "u:"+bob, "denied")
		if !errors.Is(err, im.Denied) || err.Error() != "you are blocked" || r.ClientID == "" {
			t.Errorf("got %+v, %v", r, err)
		}
		r, err = c.SendDraft(t.Context(), im.Draft{ClientID: "mine", To: "u:" + bob, Text: "x"})
		if err != nil || r.ClientID != "mine" || r.ID != "m-mine" {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}

func TestWhatCanNeverBeAcceptedIsNotWritten(t *testing.T) {
	tests := []struct {
		name string
		d    im.Draft
		kind im.Kind
	}{
		{"no text", im.Draft{To: "u:" + bob}, im.Invalid},
		{"to oneself", im.Draft{To: "u:" + ann, Text: "x"}, im.Invalid},
		{"to nobody", im.Draft{To: "bob", Text: "x"}, im.Invalid},
		{"a long text", im.Draft{To: "u:" + bob, Text: strings.Repeat("x", im.MaxText+1)}, im.TooLarge},
		{"a text that is long as JSON", im.Draft{To: "u:" + bob, Text: strings.Repeat("\x01", im.MaxText)}, im.TooLarge},
		{"broken UTF-8", im.Draft{To: "u:" + bob, Text: "\xff"}, im.Invalid},
	}
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		for _, tt := range tests {
			if _, err := c.SendDraft(t.Context(), tt.d); !errors.Is(err, tt.kind) {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.kind)
			}
		}
		go func() { s.accept(s.read()) }()
		if _, err := c.Send(t.Context(), "u:"+bob, strings.Repeat("<", im.MaxText)); err != nil {
			t.Errorf("a text of <: %v", err)
		}
	})
}

func TestP5ARefusalForAWhileIsSentAgainUnderTheSameID(t *testing.T) {
	for _, kind := range []im.Kind{im.Unavailable, im.Overloaded, im.Internal} {
		t.Run(string(kind), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				c, s := f.connect(f.options(&g), 0)
				defer c.Close()
				all := sendAll(t, c, "one", "two", "three")
				first, second, third := s.read(), s.read(), s.read()
				start := time.Now()
				for _, d := range []frame.FromClient{first, second, third} {
					s.write(frame.FromServer{Type: frame.Refused, ID: d.ClientID, Kind: kind, RetryAfterMS: 3000})
				}
				for _, want := range []frame.FromClient{first, second, third} {
					again := s.read()
					if again.Draft != want.Draft {
						t.Errorf("sent %+v again as %+v", want.Draft, again.Draft)
					}
					s.accept(again)
				}
				if waited := time.Since(start); waited < 3*time.Second || waited > 10*time.Second {
					t.Errorf("came again after %s", waited)
				}
				for _, s := range all {
					if _, err := s.Result(); err != nil {
						t.Error(err)
					}
				}
				s.idle(time.Second)
			})
		})
	}
}

// A slow group may have its members wait for an hour: whoever sends is told.
func TestARefusalForALongWhileIsAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		all := sendAll(t, c, "one", "two")
		s.write(frame.FromServer{Type: frame.Refused, ID: s.read().ClientID, Kind: im.Overloaded, Detail: "slow", RetryAfterMS: 3_600_000})
		_, err := all[0].Result()
		var e *im.Error
		if !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter != time.Hour {
			t.Errorf("got %v", err)
		}
		s.accept(s.read()) // others go on
		if _, err := all[1].Result(); err != nil {
			t.Error(err)
		}
		s.idle(time.Second)
	})
}

// A server that says "too fast" is not told so by a full window each time.
func TestAfterARefusalTheWindowOpensSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		texts := make([]string, 64)
		for i := range texts {
			texts[i] = fmt.Sprint(i)
		}
		sendAll(t, c, texts...)
		synctest.Wait()
		for range 64 {
			s.write(frame.FromServer{Type: frame.Refused, ID: s.read().ClientID, Kind: im.Overloaded, RetryAfterMS: 50})
		}
		var bursts []int
		for n := 0; n < 64; n += bursts[len(bursts)-1] {
			frames := []frame.FromClient{s.read()}
			synctest.Wait()
			for len(s.frames) > 0 {
				frames = append(frames, s.read())
			}
			for _, d := range frames {
				s.accept(d)
			}
			bursts = append(bursts, len(frames))
		}
		if !slices.Equal(bursts, []int{1, 2, 4, 8, 16, 32, 1}) {
			t.Errorf("bursts of %v", bursts)
		}
		sendAll(t, c, texts...)
		synctest.Wait()
		if n := len(s.frames); n != len(texts) {
			t.Errorf("a window of %d after all were accepted", n)
		}
	})
}

func TestP5AMessageWhoseAnswerWasLostIsFoundInTheInbox(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(3)
		c, s := f.connect(f.options(&g), 3)
		defer c.Close()
		g.want(t, 1, 3)
		all := sendAll(t, c, "accepted", "lost")
		accepted, lost := s.read(), s.read()
		f.accepts(4, accepted)
		s.close(0, nil)

		s = f.next()
		before := len(f.pulled())
		s.welcome(4)
		again := s.read()
		if pulls := f.pulled(); len(pulls) != before+1 || pulls[before] != 3 {
			t.Errorf("synced after %v before it was sent again", pulls[before:])
		}
		if again.Draft != lost.Draft {
			t.Errorf("sent %+v again", again.Draft)
		}
		s.accept(again)
		s.idle(time.Second)
		if r, err := all[0].Result(); err != nil || r.ID != "id-"+accepted.ClientID || r.Time == 0 {
			t.Errorf("the accepted one: %+v, %v", r, err)
		}
		if r, err := all[1].Result(); err != nil || r.ID != "m-"+lost.ClientID {
			t.Errorf("the lost one: %+v, %v", r, err)
		}
		g.want(t, 1, 4)
	})
}

// accepts puts a message of the client into the inbox.
func (f *fake) accepts(seq int64, d frame.FromClient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(seq, im.Message{ID: "id-" + d.ClientID, Conversation: im.Direct(ann, bob), Time: im.Now(), From: ann, ClientID: d.ClientID, Kind: im.KindText, Text: d.Text})
}

func TestP5ThePushOfAMessageIsAnAnswerToo(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		all := sendAll(t, c, "one")
		d := s.read()
		f.accepts(1, d)
		s.push(1)
		if r, err := all[0].Result(); err != nil || r.ID != "id-"+d.ClientID {
			t.Errorf("%+v, %v", r, err)
		}
		s.accept(d) // late, and harmless
		s.write(frame.FromServer{Type: frame.Accepted, ID: "of nobody"})
		s.write(frame.FromServer{Type: frame.Refused, ID: "of nobody", Kind: im.Overloaded})
		g.want(t, 1, 1)
	})
}

func TestP5NothingIsSentAgainBeforeTheInboxCouldBeRead(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		sendAll(t, c, "one")
		d := s.read()
		s.close(0, nil)
		f.set(func() { f.pullErr = im.Unavailable })
		s = f.next()
		s.welcome(0)
		s.keepAlive(t.Context())
		sendAll(t, c, "two")
		s.idle(5 * time.Minute)
		f.set(func() { f.pullErr = "" })
		for _, want := range []string{"one", "two"} {
			again := s.read()
			if again.Text != want {
				t.Errorf("sent %q, want %q", again.Text, want)
			}
			s.accept(again)
		}
		_ = d
	})
}

// The settling of what is on its way must not wait for the handler, which may
// itself wait for a message to be accepted.
func TestAHandlerMaySendWhileTheConnectionIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		opt := f.options(&g)
		opt.OnMessage = func(ctx context.Context, c *Client, m Message) error {
			if m.From == bob {
				if _, err := c.Send(ctx, "u:"+bob, "answer to "+m.Text); err != nil {
					return err
				}
			}
			return g.message(ctx, c, m)
		}
		c, s := f.connect(opt, 0)
		defer c.Close()
		f.fill(500)
		s.push(1)
		d := s.read()
		s.close(0, nil)
		s = f.next()
		s.welcome(500)
		for n := range 500 {
			again := s.read()
			if n == 0 && again.Draft != d.Draft {
				t.Errorf("sent %+v", again.Draft)
			}
			s.accept(again)
		}
		g.want(t, 1, 500)
	})
}

func TestGivingUp(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		opt := f.options(&g)
		opt.Window = 1
		store := new(Memory)
		opt.Store = store
		c, s := f.connect(opt, 0)
		defer c.Close()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := c.Send(ctx, "u:"+bob, "unanswered")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "may have been accepted") {
			t.Errorf("unanswered: %v", err)
		}
		d := s.read()
		if r.ClientID != d.ClientID {
			t.Errorf("receipt %+v for %+v", r, d)
		}
		f.set(func() { f.down = true })
		s.close(0, nil)
		synctest.Wait() // until the client has noticed

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waiting, err := c.SendAsync(ctx, im.Draft{To: "u:" + bob, Text: "unsent"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.SendAsync(ctx, im.Draft{To: "u:" + bob, Text: "no room"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no room: %v", err)
		}
		if _, err := waiting.Result(); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "accepted") {
			t.Errorf("unsent: %v", err)
		}
		if left := store.state.Unsettled; len(left) != 0 {
			t.Errorf("the store still has %+v", left)
		}
		f.set(func() { f.down = false })
		s = f.next()
		s.welcome(0)
		s.idle(time.Second) // what was given up is not sent again
		go func() { s.accept(s.read()) }()
		if again, err := c.SendDraft(t.Context(), r.draft("unanswered")); err != nil || again.ID != "m-"+r.ClientID {
			t.Errorf("sent again by hand: %+v, %v", again, err)
		}
	})
}

func (r Receipt) draft(text string) im.Draft {
	return im.Draft{ClientID: r.ClientID, To: "u:" + bob, Text: text}
}

func TestP7TheWindowIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		opt := f.options(&g)
		opt.Window = 8
		c, s := f.connect(opt, 0)
		defer c.Close()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := c.Send(t.Context(), "u:"+bob, "x"); err != nil {
					t.Error(err)
				}
			})
		}
		for range 100 {
			synctest.Wait()
			if n := len(s.frames); n > 8 {
				t.Fatalf("%d on their way", n)
			}
			s.accept(s.read())
			synctest.Wait()
		}
		all.Wait()
	})
}

func TestOneIDOnItsWayOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		first, err := c.SendAsync(t.Context(), im.Draft{ClientID: "c1", To: "u:" + bob, Text: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(t.Context(), "u:"+bob, ""); err == nil {
			t.Error("an empty text was sent")
		}
		if _, err := c.SendAsync(t.Context(), im.Draft{ClientID: "c1", To: "u:" + bob, Text: "y"}); !errors.Is(err, im.Conflict) {
			t.Errorf("the same id: %v", err)
		}
		s.accept(s.read())
		if _, err := first.Result(); err != nil {
			t.Error(err)
		}
	})
}

func TestAServerThatOwesAnAnswerIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.keepAlive(t.Context())
		start := time.Now()
		sendAll(t, c, "one")
		d := s.read()
		s = f.next()
		if took := time.Since(start); took < ackTimeout || took > ackTimeout+backoffFirst {
			t.Errorf("left after %s", took)
		}
		s.welcome(0)
		if again := s.read(); again.Draft != d.Draft {
			t.Errorf("sent %+v again", again.Draft)
		}
	})
}

// One message that the server cannot bear must not keep the others from passing.
func TestAMessageTooLargeForTheServerIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		all := sendAll(t, c, "one", "huge", "three")
		closed := 0
		accepted := map[string]bool{}
		for len(accepted) < 2 {
			d := s.read()
			if d.Text != "huge" && closed > 0 {
				s.accept(d)
				accepted[d.Text] = true
			} else if d.Text == "huge" {
				closed++
				s.close(websocket.CloseMessageTooBig, nil)
				s = f.next()
				s.welcome(0)
			}
		}
		if _, err := all[1].Result(); !errors.Is(err, im.TooLarge) {
			t.Errorf("huge: %v", err)
		}
		for _, i := range []int{0, 2} {
			if _, err := all[i].Result(); err != nil {
				t.Error(err)
			}
		}
		if closed != 2 {
			t.Errorf("it took %d connections", closed)
		}
	})
}

func TestP5WhatAProgramLeftUnsettledIsSettledByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		opt := f.options(&g)
		store := new(Memory)
		opt.Store = store
		c, s := f.connect(opt, 0)
		all := sendAll(t, c, "accepted", "lost")
		accepted, lost := s.read(), s.read()
		c.Close()
		for _, s := range all {
			if _, err := s.Result(); !errors.Is(err, ErrClosed) {
				t.Errorf("at close: %v", err)
			}
		}
		if _, err := c.Send(t.Context(), "u:"+bob, "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
		f.accepts(1, accepted)

		c, s = f.connect(opt, 1)
		defer c.Close()
		if again := s.read(); again.Draft != lost.Draft {
			t.Errorf("sent %+v", again.Draft)
		} else {
			s.accept(again)
		}
		synctest.Wait()
		for _, d := range []frame.FromClient{accepted, lost} {
			n := g.count(func(e Event) bool {
				r, ok := e.(Resent)
				return ok && r.Err == nil && r.Draft == d.Draft && r.Receipt.ClientID == d.ClientID && r.Receipt.ID != ""
			})
			if n != 1 {
				t.Errorf("%d events for %s", n, d.Text)
			}
		}
		if len(store.state.Unsettled) != 0 {
			t.Errorf("the store still has %+v", store.state.Unsettled)
		}
		s.idle(time.Second)
	})
}

func TestTypingAndSignals(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		if err := c.Typing("u:" + bob); err != nil {
			t.Error(err)
		}
		if d := s.read(); d.Type != frame.Typing || d.To != "u:"+bob {
			t.Errorf("wrote %+v", d)
		}
		if err := c.Signal("u:"+bob, []byte(`{"a":1}`)); err != nil {
			t.Error(err)
		}
		if d := s.read(); d.Type != frame.Signal || string(d.Data) != `{"a":1}` {
			t.Errorf("wrote %+v", d)
		}
		if err := c.Signal("u:"+bob, []byte(`{`)); !errors.Is(err, im.Invalid) {
			t.Errorf("broken JSON: %v", err)
		}
		if err := c.Signal("u:"+bob, []byte(`"`+strings.Repeat("x", frame.MaxSignal)+`"`)); !errors.Is(err, im.TooLarge) {
			t.Errorf("too large: %v", err)
		}
		f.set(func() { f.down = true })
		s.close(0, nil)
		synctest.Wait()
		if err := c.Typing("u:" + bob); !errors.Is(err, im.Unavailable) {
			t.Errorf("offline: %v", err)
		}
	})
}

// A server that remembers no ids at all, loses answers, refuses for a while
// and drops connections: as long as the inbox tells what was accepted, each
// message is accepted once, and the messages of each goroutine in their order.
func TestP5WhateverIsLostEveryMessageIsAcceptedOnce(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = make([]uint64, 60)
		for i := range seeds {
			seeds[i] = rand.Uint64()
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) { sendAtRandom(t, f, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func sendAtRandom(t *testing.T, f *fake, r *rand.Rand) {
	const senders, each = 4, 40
	var g got
	opt := f.options(&g)
	opt.Window = 1 + r.IntN(8)
	c, s := f.connect(opt, 0)
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for n := range senders {
			all.Go(func() {
				for i := range each {
					if _, err := c.Send(t.Context(), "u:"+bob, fmt.Sprintf("%d %d", n, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}()
	head := int64(0)
	for {
		var d frame.FromClient
		select {
		case d = <-s.frames:
		case <-done:
			time.Sleep(time.Minute)
			checkAccepted(t, f, senders, each)
			s.write(frame.FromServer{Type: frame.Behind, Head: head})
			time.Sleep(time.Second)
			g.want(t, 1, head)
			return
		}
		if r.IntN(10) == 0 {
			s.write(frame.FromServer{Type: frame.Refused, ID: d.ClientID, Kind: im.Unavailable, RetryAfterMS: int64(r.IntN(300))})
			continue
		}
		if r.IntN(30) != 0 {
			head++
			f.accepts(head, d)
			if r.IntN(3) == 0 {
				s.push(head)
			}
			if r.IntN(20) != 0 {
				s.accept(d)
				continue
			}
		}
		s.close(0, nil)
		s = f.next()
		s.welcome([]int64{head, head, -1}[r.IntN(3)])
	}
}

func checkAccepted(t *testing.T, f *fake, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.inbox {
		m, err := decode(e.Seq, e.Message)
		var n, i int
		if _, err2 := fmt.Sscan(m.Text, &n, &i); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if i != next[n] {
			t.Fatalf("message %d of sender %d at seq %d, after %d", i, n, e.Seq, next[n]-1)
		}
		next[n]++
	}
	for n := range next {
		if next[n] != each {
			t.Errorf("%d of sender %d were accepted", next[n], n)
		}
	}
}

// What is said not to have been sent is not sent, however close to being
// written it is given up.
func TestWhatIsSaidNotToBeSentIsNotSent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5000 {
		c := &Client{ctx: t.Context(), store: new(Memory), log: slog.New(slog.DiscardHandler), slots: make(chan struct{}, 1), wakeWrite: make(chan struct{}, 1)}
		s := &Sending{draft: im.Draft{ClientID: "one"}, frame: []byte("one"), done: make(chan struct{})}
		c.slots <- struct{}{}
		c.out.byID = make(map[string]*Sending)
		c.out.add(s)
		var written []byte
		var both sync.WaitGroup
		both.Go(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			written, _, _ = c.out.next(time.Now())
		})
		both.Go(func() { c.giveUp(ctx, s) })
		both.Wait()
		<-s.done
		if said := strings.Contains(s.err.Error(), "not sent"); said != (written == nil) {
			t.Fatalf("written: %q; and it says %v", written, s.err)
		}
	}
}
