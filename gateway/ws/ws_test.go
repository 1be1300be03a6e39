package ws

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

func TestPingsAndIdleConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		silent, alive := connect(h, "ann", time.Hour), connect(h, "bob", time.Hour)
		for range 10 {
			settle(30 * time.Second)
			alive.in <- "pong"
		}
		if got := alive.pings; got < 11 || got > 12 {
			t.Errorf("pinged %d times in 5 minutes, want every 25 s", got)
		}
		if alive.isClosed() {
			t.Error("a connection that answers was closed")
		}
		if got := types(silent.frames()); got != "welcome bye close" || !silent.isClosed() {
			t.Errorf("a silent connection was told %q", got)
		}
		if silent.pings < 2 || silent.pings > 3 {
			t.Errorf("a silent connection was pinged %d times, want 2 or 3", silent.pings)
		}
	})
}

func TestAnIdleConnectionLastsAsLongAsItWasTold(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		c := connect(h, "ann", time.Hour)
		settle(60 * time.Second)
		if c.isClosed() {
			t.Fatal("closed too early")
		}
		settle(6*time.Second + closeWait)
		if frames := c.frames(); types(frames) != "welcome bye close" || frames[1].Reason != "idle" || !c.isClosed() {
			t.Errorf("told %+v", frames)
		}
	})
}

func TestP7AFrameThatDoesNotEndIsNotWaitedForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		c := connect(h, "ann", time.Hour)
		c.in <- "stall"
		for range 3 {
			settle(9 * time.Second)
			c.in <- "pong"
		}
		if c.isClosed() {
			t.Error("closed too early")
		}
		settle(10*time.Second + closeWait)
		if got := types(c.frames()); got != "welcome bye close" || !c.isClosed() {
			t.Errorf("told %q", got)
		}
	})
}

func TestAnExpiredTokenEndsTheConnectionUnlessAnotherComes(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		expires, refreshed := connect(h, "ann", 30*time.Second), connect(h, "ann", 30*time.Second)
		for _, c := range []*client{expires, refreshed} {
			c.frames()
		}
		settle(29 * time.Second)
		refreshed.in <- `{"type":"token","token":"1m"}`
		expires.in <- "pong"
		settle(3 * time.Second) // within the grace
		synctest.Wait()
		if expires.isClosed() {
			t.Error("closed without grace")
		}
		settle(8*time.Second + closeWait)
		if frames := expires.frames(); types(frames) != "bye close" || frames[0].Code != frame.CloseExpired.Code || frames[0].Reconnect != frame.ReconnectRefresh {
			t.Errorf("told %+v", frames)
		}
		if got := types(refreshed.frames()); got != "token" {
			t.Errorf("told %q", got)
		}
		refreshed.in <- "pong"
		settle(60 * time.Second)
		if !refreshed.isClosed() {
			t.Error("the second token never expires")
		}
	})
}

// A push that comes while a connection is being set up is neither lost nor
// written before the welcome.
func TestTheWelcomeComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		w.hints["ann"] = 3
		release := make(chan struct{})
		w.connect = func() { <-release }
		c := connect(h, "ann", time.Hour)
		push(t, h, "ann", 4)
		synctest.Wait()
		if got := types(c.frames()); got != "" {
			t.Fatalf("told %q before the welcome", got)
		}
		close(release)
		synctest.Wait()
		frames := c.frames()
		if types(frames) != "welcome message" || frames[0].Head != 3 || frames[1].Seq != 4 {
			t.Errorf("told %+v", frames)
		}
		w.mu.Lock()
		w.hints["ann"] = 4
		w.mu.Unlock()
		settle(time.Minute)
		if got := types(c.frames()); strings.Contains(got, "behind") {
			t.Errorf("was told that it is behind what was pushed: %q", got)
		}
	})
}

func push(t *testing.T, h *Hub, user string, seq int64) {
	t.Helper()
	data, err := json.Marshal(event.Pushed{Message: []byte(`{}`), To: []event.Recipient{{User: user, Seq: seq}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Receive(t.Context(), []event.Event{{Type: event.Push, Data: data}}); err != nil {
		t.Fatal(err)
	}
}

func TestP7WhatWaitsToBeWrittenIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int // of a frame
		fits int
	}{
		{name: "in frames", size: 10, fits: maxQueue},
		{name: "in bytes", size: 64 << 10, fits: 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *world, h *Hub) {
				c := connect(h, "ann", time.Hour)
				c.frames()
				c.block()
				b := []byte(`"` + strings.Repeat("x", tt.size-2) + `"`)
				for range tt.fits {
					c.write(b)
				}
				synctest.Wait()
				if c.ending() {
					t.Fatal("closed too early")
				}
				c.write(b)
				if !c.ending() {
					t.Fatal("not closed")
				}
				c.write(b) // goes nowhere
				if frames, bytes := c.waiting(); bytes > 1<<20+1024 || frames > maxQueue+2 {
					t.Errorf("%d bytes in %d frames wait", bytes, frames)
				}
				// A client that still reads nothing holds it up for a moment only.
				settle(closeWait + time.Second)
				if !c.isClosed() {
					t.Error("the connection is there still")
				}
			})
		})
	}
	t.Run("a client that catches up is told why", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *world, h *Hub) {
			c := connect(h, "ann", time.Hour)
			c.frames()
			release := c.block()
			for range maxQueue + 1 {
				c.write([]byte(`{"type":"x"}`))
				synctest.Wait() // so that the first is being written
			}
			close(release)
			synctest.Wait()
			frames := c.frames()
			if n := len(frames); n != 3 || frames[1].Reason != "slow" || frames[2].Type != "close" {
				t.Errorf("told %+v", frames)
			}
		})
	})
}

func TestP7WhatIsKeptNowhereNeverClosesItsRecipient(t *testing.T) {
	push := func(t *testing.T, h *Hub, frame string) {
		t.Helper()
		data, err := json.Marshal(event.Pushed{Frame: json.RawMessage(frame), To: []event.Recipient{{User: "ann"}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Receive(t.Context(), []event.Event{{ID: im.NewID(), Type: event.Push, Data: data}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	for _, tt := range []struct {
		name  string
		frame string
		most  int // that get through
	}{
		{"many small ones", `{"type":"typing"}`, maxEphemeralQueue},
		{"large ones", `{"type":"signal","data":"` + strings.Repeat("x", 4000) + `"}`, maxEphemeral / 4000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *world, h *Hub) {
				c := connect(h, "ann", time.Hour)
				c.frames()
				release := c.block()
				for range 4 * maxQueue {
					push(t, h, tt.frame)
				}
				c.write([]byte(`{"type":"accepted"}`)) // there is room for what counts
				close(release)
				synctest.Wait()
				frames := c.frames()
				if n := len(frames); n < 2 || n > tt.most+1 || frames[n-1].Type != "accepted" {
					t.Errorf("got %d frames", n)
				}
				if c.isClosed() {
					t.Error("the connection is closed")
				}
			})
		})
	}
	t.Run("more than anybody needs, to one who reads", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *world, h *Hub) {
			c := connect(h, "ann", time.Hour)
			c.frames()
			for range 2 * ephemeralBurst {
				push(t, h, `{"type":"typing"}`)
			}
			if n := len(c.frames()); n != ephemeralBurst {
				t.Errorf("%d came at once, want %d", n, ephemeralBurst)
			}
			settle(time.Second)
			for range 2 * ephemeralRate {
				push(t, h, `{"type":"typing"}`)
			}
			if n := len(c.frames()); n != ephemeralRate {
				t.Errorf("%d came after a second, want %d", n, ephemeralRate)
			}
		})
	})
}

func TestAConnectionThatCannotBeWrittenToEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		c := connect(h, "ann", time.Hour)
		c.block()
		c.write([]byte(`{}`))
		settle(writeWait + time.Second)
		if !c.isClosed() || len(h.Users()) != 0 || len(w.connected) != 0 || h.count.Load() != 0 {
			t.Errorf("closed %v; left are users %v, present %v, %d counted", c.isClosed(), h.Users(), w.connected, h.count.Load())
		}
	})
}

func TestMessagesThatAreNotAnsweredInTimeAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		w.submit = func(ctx context.Context, _ []event.Event) ([]fn.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := connect(h, "ann", time.Hour)
		c.frames()
		start := time.Now()
		c.in <- fmt.Sprintf(`{"type":"send","id":"m1","to":"u:%s","text":"x"}`, im.NewID())
		settle(postTimeout)
		frames := c.frames()
		if types(frames) != "refused" || frames[0].ID != "m1" || frames[0].Kind != im.Unavailable || frames[0].RetryAfterMS < 200 {
			t.Errorf("after %s told %+v", time.Since(start), frames)
		}
	})
}

func TestP7WhatFindsNoRoomInALaneIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		release := make(chan struct{})
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			<-release
			return acceptAll(ctx, events)
		}
		first := connect(h, "bob", time.Hour)
		first.in <- fmt.Sprintf(`{"type":"send","id":"m1","to":"u:%s","text":"x"}`, im.NewID())
		synctest.Wait()
		for range laneQueue {
			h.lanes[0].in <- &submission{conn: first.Conn}
		}
		c := connect(h, "ann", time.Hour)
		c.frames()
		c.in <- fmt.Sprintf(`{"type":"send","id":"m1","to":"u:%s","text":"x"}`, im.NewID())
		synctest.Wait()
		if got := types(c.frames()); got != "" {
			t.Errorf("did not wait for room, was told %q", got)
		}
		settle(sendWait)
		if frames := c.frames(); types(frames) != "refused" || frames[0].Kind != im.Overloaded {
			t.Errorf("told %+v", frames)
		}
		for range laneQueue {
			<-h.lanes[0].in
		}
		close(release)
	})
}

func TestWhatComesWhileARequestIsUnderWayIsTheNextBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		release := make(chan struct{})
		var sizes []int
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			sizes = append(sizes, len(events))
			<-release
			return acceptAll(ctx, events)
		}
		for i := range 8 {
			c := connect(h, fmt.Sprint("user-", i), time.Hour)
			for n := range 50 {
				c.in <- fmt.Sprintf(`{"type":"send","id":"%d","to":"u:%s","text":"x"}`, n, im.NewID())
				synctest.Wait()
			}
		}
		close(release)
		synctest.Wait()
		if want := []int{1, batchEvents, 8*50 - 1 - batchEvents}; !slices.Equal(sizes, want) {
			t.Errorf("400 messages went in batches of %v, want %v", sizes, want)
		}
	})
}

// What is over the rate limit is refused as it comes, while earlier messages may
// still wait in the lane. Those are no reason to be sent again behind it.
func TestP4AMessageRefusedAsItCameHoldsUpLaterOnesOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		h.SendRate, h.SendBurst = 2, 3
		release := make(chan struct{})
		var order []string
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			<-release
			for _, e := range events {
				var s event.Submitted
				if err := json.Unmarshal(e.Data, &s); err != nil {
					t.Error(err)
				}
				order = append(order, s.ClientID)
			}
			return acceptAll(ctx, events)
		}
		c, to := connect(h, "ann", time.Hour), im.NewID()
		c.frames()
		send := func(id string) { c.in <- fmt.Sprintf(`{"type":"send","id":%q,"to":"u:%s","text":"x"}`, id, to) }
		for _, id := range []string{"m1", "m2", "m3", "m4"} {
			send(id)
			synctest.Wait()
		}
		if frames := c.frames(); types(frames) != "refused" || frames[0].ID != "m4" || frames[0].Kind != im.Overloaded {
			t.Errorf("told %+v", frames)
		}
		close(release)
		synctest.Wait()
		if got := types(c.frames()); got != "accepted accepted accepted" {
			t.Errorf("of those before it told %q", got)
		}
		for _, tt := range []struct{ id, told string }{{"m5", "refused"}, {"m4", "accepted"}, {"m5", "accepted"}} {
			settle(500 * time.Millisecond) // a message more is allowed by then
			send(tt.id)
			synctest.Wait()
			if frames := c.frames(); types(frames) != tt.told || frames[0].ID != tt.id {
				t.Errorf("of %s told %+v, want %s", tt.id, frames, tt.told)
			}
		}
		if want := []string{"m1", "m2", "m3", "m4", "m5"}; !slices.Equal(order, want) {
			t.Errorf("went on in the order %q, want %q", order, want)
		}
	})
}

// A message that came again may still wait in the lane when the next one is
// refused as it comes: it is no reason to let pass what comes after that one.
func TestP4WhatIsRefusedBehindAMessageThatCameAgainHoldsUpLaterOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		h.SendRate, h.SendBurst = 2, 2
		var release chan struct{}
		var order []string
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			<-release
			for _, e := range events {
				var s event.Submitted
				if err := json.Unmarshal(e.Data, &s); err != nil {
					t.Error(err)
				}
				order = append(order, s.ClientID)
			}
			return acceptAll(ctx, events)
		}
		c, to := connect(h, "ann", time.Hour), im.NewID()
		c.frames()
		send := func(id string) {
			c.in <- fmt.Sprintf(`{"type":"send","id":%q,"to":"u:%s","text":"x"}`, id, to)
			synctest.Wait()
		}
		told := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, f := range c.frames() {
				got = append(got, f.Type+" "+f.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		release = make(chan struct{})
		for _, id := range []string{"m1", "m2", "m3"} {
			send(id)
		}
		told("refused m3")
		settle(500 * time.Millisecond) // one more is allowed by then
		send("m3")
		send("m4")
		told("refused m4")
		settle(500 * time.Millisecond)
		send("m5")
		close(release)
		told("accepted m1", "refused m5", "accepted m2", "accepted m3")
		settle(time.Second)
		send("m4")
		send("m5")
		told("accepted m4", "accepted m5")
		if want := []string{"m1", "m2", "m3", "m4", "m5"}; !slices.Equal(order, want) {
			t.Errorf("went on in the order %q, want %q", order, want)
		}
		if len(c.holds) != 0 {
			t.Errorf("still held back: %v", c.holds)
		}
	})
}

// A message that is to come again in a while keeps its place for as long: what
// was sent meanwhile is told to wait as long as it is.
func TestP4WhatIsToldToWaitIsWaitedForAsLong(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		full := true
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			out, err := acceptAll(ctx, events)
			for i := range out {
				if full {
					out[i] = fn.Result{ID: events[i].ID, Status: 429, RetryAfter: 10 * time.Second,
						Error: &im.Problem{Kind: im.Overloaded, Title: "t", Detail: "too many recipients"}}
				}
			}
			return out, err
		}
		c, to := connect(h, "ann", time.Hour), im.NewID()
		c.frames()
		say := func(id, want string, wait time.Duration) {
			t.Helper()
			c.in <- fmt.Sprintf(`{"type":"send","id":%q,"to":"u:%s","text":"x"}`, id, to)
			synctest.Wait()
			f := c.frames()[0]
			told := time.Duration(f.RetryAfterMS) * time.Millisecond
			if f.Type != want || told > wait || told < wait-time.Second {
				t.Errorf("%s is %s and waits %s, want %s and %s", id, f.Type, told, want, wait)
			}
		}
		say("m1", frame.Refused, 10*time.Second)
		full = false
		settle(4 * time.Second)
		say("m2", frame.Refused, 6*time.Second)
		settle(6 * time.Second)
		say("m2", frame.Refused, time.Second)
		say("m1", frame.Accepted, 0)
		say("m2", frame.Accepted, 0)
	})
}

func TestP7WhatIsHeldBackOfAConnectionIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		h.SendRate, h.SendBurst = 1, 100
		c := connect(h, "ann", time.Hour)
		for n := range 2 * maxHolds {
			c.in <- fmt.Sprintf(`{"type":"send","id":"%d","to":"u:%s","text":"x"}`, n, im.NewID())
			synctest.Wait()
		}
		c.Conn.mu.Lock()
		defer c.Conn.mu.Unlock()
		if n := len(c.holds); n != maxHolds || c.waitedFor() != n {
			t.Errorf("%d messages are waited for, want %d", c.waitedFor(), maxHolds)
		}
	})
}

func TestEachLeaseIsRenewedInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		var all []*client
		for i := range 250 {
			all = append(all, connect(h, fmt.Sprint("user-", i), time.Hour))
			time.Sleep(7 * time.Millisecond)
		}
		settle(40 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, c := range all {
			if n := w.refreshed[c.who.ID]; n < 4 || n > 5 {
				t.Errorf("renewed %d times in 40 s, want every 10 s", n)
			}
		}
	})
}

func TestConnectionsMadeWithoutRedisArePresentLater(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		w.down = true
		c := connect(h, "ann", time.Hour)
		if got := types(c.frames()); got != "welcome" {
			t.Fatalf("told %q", got)
		}
		settle(15 * time.Second)
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		settle(11 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.connected[c.who.ID] {
			t.Error("it is not present")
		}
	})
}

func TestTheHeadsOfManyWhoConnectAtOnceAreAskedForTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		w.askTakes = 900 * time.Millisecond
		var all []*client
		for i := range 300 {
			all = append(all, connect(h, fmt.Sprint("user-", i), time.Hour))
		}
		settle(4 * time.Second)
		for i, c := range all {
			if frames := c.frames(); types(frames) != "welcome" || frames[0].Head != 0 {
				t.Fatalf("client %d was told %+v", i, frames)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.roughly); n != 3 {
			t.Errorf("300 heads were asked for in %d requests, want 1 for the first, 256 and the rest", n)
		}
	})
}

func TestHeadsAreAskedForInChunks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		const n = 1200
		for i := range n {
			user := fmt.Sprint("user-", i)
			if i%2 == 0 {
				w.hints[user] = 0
			}
			connect(h, user, time.Hour)
		}
		w.mu.Lock()
		w.hinted, w.asked = nil, nil
		w.mu.Unlock()
		settle(30 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		for what, chunks := range map[string][][]string{"of Redis": w.hinted, "of the store": w.asked} {
			all := slices.Concat(chunks...)
			slices.Sort(all)
			want := n
			if what == "of the store" {
				want = n / 2
			}
			if len(slices.Compact(all)) != want || len(chunks) != 3 {
				t.Errorf("%s: %d users in %d chunks, want each of %d once in 3", what, len(all), len(chunks), want)
			}
		}
	})
}

func TestWithoutRedisTheStoreIsAskedWhoIsBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		connect(h, "ann", time.Hour)
		w.mu.Lock()
		w.down, w.asked = true, nil
		w.mu.Unlock()
		settle(31 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asked) == 0 {
			t.Error("the store was not asked")
		}
	})
}

// While Redis could not be reached heads may not have come to it, and pushes
// were lost as well.
func TestP3AfterRedisCouldNotBeReachedTheStoreIsAskedWhoIsBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		w.hints["ann"] = 0
		connect(h, "ann", time.Hour)
		down := func(is bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.down, w.asked = is, nil
		}
		down(true)
		settle(11 * time.Second) // a renewal fails
		down(false)
		settle(30 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.asked) == 0 {
			t.Error("the store was not asked")
		}
	})
}

func TestDrainingDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		release := make(chan struct{})
		w.submit = func(ctx context.Context, events []event.Event) ([]fn.Result, error) {
			<-release // however long
			return acceptAll(ctx, events)
		}
		c, frozen := connect(h, "ann", time.Hour), connect(h, "bob", time.Hour)
		frozen.block()
		frozen.write([]byte(`{}`))
		c.in <- fmt.Sprintf(`{"type":"send","id":"m1","to":"u:%s","text":"x"}`, im.NewID())
		synctest.Wait()
		start := time.Now()
		if err := h.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > settleWait+closeWait+time.Second {
			t.Errorf("draining took %s", d)
		}
		if got := types(c.frames()); got != "welcome bye close" {
			t.Errorf("told %q", got)
		}
		close(release)
		synctest.Wait()
	})
}

func TestDrainingGivesUpInTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, h *Hub) {
		frozen := connect(h, "ann", time.Hour)
		frozen.block()
		frozen.write([]byte(`{}`))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.Drain(ctx); err == nil {
			t.Error("it says that all is well")
		}
		settle(writeWait)
	})
}

func TestTheRingMeetsEachConnectionOnceInAPeriod(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *world, _ *Hub) {
		var r ring
		conns := make([]*Conn, 1010)
		for i := range conns {
			conns[i] = &Conn{}
			r.add(conns[i])
		}
		for i := 0; i < len(conns); i += 2 {
			r.remove(conns[i])
		}
		met := map[*Conn]int{}
		ctx, cancel := context.WithCancel(t.Context())
		go r.walk(ctx, 10*time.Second, func(some []*Conn) {
			for _, c := range some {
				met[c]++
			}
			time.Sleep(150 * time.Millisecond) // slower than its turns
		})
		settle(45 * time.Second)
		cancel()
		settle(time.Second)
		for i, c := range conns {
			switch {
			case i%2 == 0 && met[c] != 0:
				t.Fatalf("met a connection that is gone")
			case i%2 == 1 && (met[c] < 2 || met[c] > 5):
				t.Fatalf("met a connection %d times in 45 s", met[c])
			}
		}
		if got := len(r.all()); got != 505 {
			t.Errorf("there are %d connections, want 505", got)
		}
	})
}

// Who is signed out is closed without a look at everybody else.
func TestP7TheEndOfASessionCostsNoMoreWithManyConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		const others = 2000
		var strangers []*Conn
		for i := range others {
			c := h.newConn(newClient(), im.Conn{ID: im.NewID(), User: fmt.Sprint("user-", i), Session: "s"}, time.Now().Add(time.Hour))
			h.add(c)
			strangers = append(strangers, c)
		}
		ann, bob := connect(h, "ann", time.Hour), connect(h, "bob", time.Hour)
		ended, err := h.seal(event.SessionEnded, "ann", event.Ended{Session: "s", Reason: "revoked"})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 50 {
			if err := h.endSession(ended); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / 50; n > 2*others {
			t.Errorf("each end takes %d bytes, with %d connections of others", n, others)
		}
		settle(closeWait + time.Second)
		if !ann.isClosed() || bob.isClosed() {
			t.Errorf("closed are ann: %t, bob, whose session has the same name: %t", ann.isClosed(), bob.isClosed())
		}
		for _, c := range strangers {
			h.remove(c)
		}
	})
}

// Each kind of frame costs the gateway something, be it only to read it. All are
// in a limit, and whoever goes far beyond is closed.
func TestP7FramesOfAnyKindAreLimited(t *testing.T) {
	for _, kind := range []string{
		"ping", "pong", "nonsense", `{"type":"ping"}`, `{"type":"send","id":"1","text":5}`, `{"type":"send","id":"1","to":"nowhere"}`,
		`{"type":"typing"}`, `{"type":"token","token":"none"}`,
	} {
		inBubble(t, func(t *testing.T, w *world, h *Hub) {
			h.SendRate, h.SendBurst = 20, 60
			c := connect(h, "ann", time.Hour)
			c.frames()
			sent := 0
			told := 0
			for ; sent < 20_000 && !c.ending(); sent++ {
				c.in <- kind
				synctest.Wait()
				c.bad = min(c.bad, maxBad-2) // as if good ones were among them
				told += len(c.frames())
			}
			settle(closeWait + time.Second)
			if !c.isClosed() || sent > 60*floodBurst+60+1 {
				t.Errorf("%s: closed is %t after %d frames", kind, c.isClosed(), sent)
			}
			if kind != "pong" && told == 0 {
				t.Errorf("%s is never answered", kind)
			}
			if always := strings.Contains(kind, "send") || strings.Contains(kind, "token"); !always && told > 60+3 {
				t.Errorf("%s is answered %d times", kind, told)
			}
		})
	}
}

func TestPingsAndPongsAtAnOrdinaryPaceAreNoFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		h.SendRate, h.SendBurst = 20, 60
		c := connect(h, "ann", time.Hour)
		c.frames()
		for range 200 {
			c.in <- "ping"
			c.in <- "pong"
			settle(time.Second)
		}
		if got := len(c.frames()); got != 200 || c.isClosed() {
			t.Errorf("200 pings are answered by %d pongs, closed is %t", got, c.isClosed())
		}
	})
}

func TestP7APanicOverWhatAClientSendsEndsItsConnectionOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, h *Hub) {
		c, other := connect(h, "ann", time.Hour), connect(h, "bob", time.Hour)
		c.in <- `{"type":"token","token":"panic"}`
		settle(closeWait + time.Second)
		if !c.isClosed() || other.isClosed() || len(h.Users()) != 1 {
			t.Errorf("closed are %t and %t; here are %v", c.isClosed(), other.isClosed(), h.Users())
		}
	})
}
