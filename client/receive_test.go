package client

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

func TestReceiving(t *testing.T) {
	tests := []struct {
		name  string
		head  int64 // of the inbox when the client connects
		says  int64 // the welcome
		do    func(f *fake, s *sock)
		last  int64
		pulls int
	}{
		{"what comes in order needs no sync", 0, 0, func(f *fake, s *sock) {
			f.fill(3)
			s.push(1, 2, 3)
		}, 3, 0},
		{"a repeat is dropped", 0, 0, func(f *fake, s *sock) {
			f.fill(3)
			s.push(1, 1, 2, 1, 2, 3, 3)
		}, 3, 0},
		{"what was overtaken a little is waited for", 0, 0, func(f *fake, s *sock) {
			f.fill(3)
			s.push(3, 2)
			time.Sleep(gapGrace / 2)
			s.push(1)
			time.Sleep(time.Minute)
		}, 3, 0},
		{"a gap is pulled, once", 0, 0, func(f *fake, s *sock) {
			f.fill(7)
			s.push(1, 2, 5, 4, 7)
			time.Sleep(time.Second)
		}, 7, 1},
		{"a client that is behind pulls at once", 0, 0, func(f *fake, s *sock) {
			f.fill(9)
			s.write(frame.FromServer{Type: frame.Behind, Head: 9})
			synctest.Wait()
		}, 9, 1},
		{"behind what it has already, it pulls nothing", 0, 0, func(f *fake, s *sock) {
			f.fill(2)
			s.push(1, 2)
			synctest.Wait()
			s.write(frame.FromServer{Type: frame.Behind, Head: 2})
			time.Sleep(time.Minute)
		}, 2, 0},
		{"a welcome that is ahead is caught up with, page by page", 950, 950, func(*fake, *sock) {}, 950, 10},
		{"a head that is not known is asked for", 5, -1, func(*fake, *sock) {}, 5, 1},
		{"an inbox that is known to be empty is not asked for", 0, 0, func(*fake, *sock) { time.Sleep(time.Hour) }, 0, 0},
		{"a welcome that tells of less than there is does no harm", 5, 3, func(f *fake, s *sock) {
			f.fill(6)
			s.push(6)
		}, 6, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				f.fill(tt.head)
				c, s := f.connect(f.options(&g), tt.says)
				defer c.Close()
				s.keepAlive(t.Context())
				tt.do(f, s)
				g.want(t, 1, tt.last)
				if len(f.pulled()) != tt.pulls {
					t.Errorf("pulled after %v, want %d pulls", f.pulled(), tt.pulls)
				}
				if c.Cursor() != tt.last || len(c.in.ahead) != 0 {
					t.Errorf("cursor %d, want %d; %d messages wait still", c.Cursor(), tt.last, len(c.in.ahead))
				}
			})
		})
	}
}

func TestOneSyncAtATimeWhilePushesGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.pullDelay = time.Second
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		for n := int64(10); n <= 1000; n += 10 {
			f.fill(n)
			s.push(n-3, n) // the others are lost
			s.write(frame.FromServer{Type: frame.Behind, Head: n})
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		g.want(t, 1, 1000)
		if f.mostPulls != 1 {
			t.Errorf("%d syncs at a time", f.mostPulls)
		}
	})
}

func TestP7WhatASlowHandlerLeavesIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		goOn := make(chan struct{})
		opt := f.options(&g)
		opt.OnMessage = func(ctx context.Context, c *Client, m Message) error {
			<-goOn
			return g.message(ctx, c, m)
		}
		c, s := f.connect(opt, 0)
		defer c.Close()
		f.fill(5000)
		for n := range int64(5000) {
			s.push(n + 1)
		}
		synctest.Wait()
		c.mu.Lock()
		n := len(c.in.ahead)
		c.mu.Unlock()
		if n > maxAhead+1 {
			t.Errorf("%d messages wait", n)
		}
		close(goOn)
		time.Sleep(time.Minute)
		g.want(t, 1, 5000)
	})
}

func TestEventsAreBoundedAndTheOldestGo(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		goOn := make(chan struct{})
		opt := f.options(&g)
		opt.OnEvent = func(e Event) {
			<-goOn
			g.event(e)
		}
		c, s := f.connect(opt, 0)
		defer c.Close()
		for range 1000 {
			s.write(frame.FromServer{Type: frame.Typing, From: bob})
		}
		s.write(frame.FromServer{Type: frame.Signal, From: bob, Data: []byte(`{"sdp":1}`)})
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if n := len(g.events); n > 65 {
			t.Errorf("%d events waited", n)
		}
		if last, ok := g.events[len(g.events)-1].(Signal); !ok || string(last.Data) != `{"sdp":1}` {
			t.Errorf("the last is %v", g.events[len(g.events)-1])
		}
	})
}

func TestFriendsWhoComeAndGoAreEvents(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.write(frame.FromServer{Type: frame.Presence, User: bob, Online: true})
		s.write(frame.FromServer{Type: frame.Presence, User: bob, LastSeen: 7})
		synctest.Wait()
		for _, want := range []Event{Presence{User: bob, Online: true}, Presence{User: bob, LastSeen: 7}} {
			if g.count(func(e Event) bool { return e == want }) != 1 {
				t.Errorf("no %+v among %v", want, g.events)
			}
		}
	})
}

// A notice is a message like others, whatever it tells.
func TestNoticesAreMessages(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		is            bool
		typ           string
		users         []string
	}{
		{"a notice", `{"id":"m","kind":"notice","data":{"type":"group.joined","users":["b"],"version":7}}`, true, im.GroupJoined, []string{"b"}},
		{"one of a later version", `{"id":"m","kind":"notice","data":{"type":"moon.rose"}}`, true, "moon.rose", nil},
		{"one without a type", `{"id":"m","kind":"notice","data":{}}`, false, "", nil},
		{"one without data", `{"id":"m","kind":"notice"}`, false, "", nil},
		{"a text", `{"id":"m","kind":"text","text":"x","data":{"type":"group.joined"}}`, false, "", nil},
		{"what one deleted", `{"id":"m","kind":"deleted","revision":1073741824}`, false, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				opt := f.options(&g)
				var heard []Message
				opt.OnMessage = func(_ context.Context, _ *Client, m Message) error { heard = append(heard, m); return nil }
				c, s := f.connect(opt, 0)
				defer c.Close()
				s.write(frame.FromServer{Type: frame.Message, Seq: 1, Message: []byte(tt.message)})
				synctest.Wait()
				if len(heard) != 1 {
					t.Fatalf("heard %v", heard)
				}
				n, is := NoticeOf(heard[0].Message)
				var data struct{ Users []string }
				if is {
					if err := n.Read(&data); err != nil {
						t.Error(err)
					}
				}
				if is != tt.is || n.Type != tt.typ || !slices.Equal(data.Users, tt.users) {
					t.Errorf("%t %+v %+v", is, n, data)
				}
			})
		})
	}
	if err := (Notice{Type: "x", Data: []byte(`[]`)}).Read(&struct{}{}); err == nil {
		t.Error("data of another form can be read")
	}
}

func TestAnInboxThatCannotBeReadIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(5)
		f.pullErr = im.Unavailable
		c, s := f.connect(f.options(&g), 5)
		defer c.Close()
		s.keepAlive(t.Context())
		time.Sleep(10 * time.Minute)
		if n := len(f.pulled()); n < 20 || n > 120 {
			t.Errorf("%d pulls in ten minutes", n)
		}
		f.set(func() { f.pullErr = "" })
		time.Sleep(backoffMost)
		g.want(t, 1, 5)
	})
}

// The server tells a head once; if what it promised is not there yet, the
// client has to ask again.
func TestP3AClientAsksUntilItHasWhatItWasToldOf(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		c, s := f.connect(f.options(&g), 5)
		defer c.Close()
		s.keepAlive(t.Context())
		time.Sleep(10 * time.Minute)
		if n := len(f.pulled()); n < 20 || n > 120 {
			t.Errorf("%d pulls in ten minutes", n)
		}
		f.fill(5)
		time.Sleep(backoffMost)
		g.want(t, 1, 5)
	})
}

func TestWhatWasTrimmedIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(300)
		f.inbox = f.inbox[150:]
		c, s := f.connect(f.options(&g), 300)
		defer c.Close()
		g.want(t, 151, 300)
		f.inbox = append([]im.Entry(nil), f.inbox[:150]...)
		f.put(301, message(301))
		s.push(301)
		g.want(t, 151, 301)
	})
}

func TestAPageThatReachesBackRepeatsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.overlap = 5
		f.fill(350)
		c, _ := f.connect(f.options(&g), 350)
		defer c.Close()
		g.want(t, 1, 350)
	})
}

func TestAMessageThatCannotBeReadHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(3)
		f.inbox[1].Message = []byte(`{"id":7}`)
		c, s := f.connect(f.options(&g), 0)
		defer c.Close()
		s.push(1, 2, 3)
		time.Sleep(time.Second)
		if all := g.all(); !slices.Equal(all, []int64{1, 3}) {
			t.Errorf("handled %v", all)
		}
	})
}

func TestAServerThatWentBackIsReportedAndNotAskedInALoop(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		store := &Memory{state: State{User: ann, Cursor: 10}}
		opt := f.options(&g)
		opt.Store = store
		f.fill(4)
		c, s := f.connect(opt, 4)
		defer c.Close()
		s.keepAlive(t.Context())
		time.Sleep(time.Hour / 2)
		if len(f.pulled()) != 1 {
			t.Errorf("pulled after %v", f.pulled())
		}
		if n := g.count(func(e Event) bool { return e == Rewound{Cursor: 10, Head: 4} }); n != 1 {
			t.Errorf("reported %d times: %v", n, g.events)
		}
		f.fill(11)
		s.push(11)
		g.want(t, 11, 11)
	})
}

func TestANewStoreMayStartAtTheNewest(t *testing.T) {
	for _, head := range []int64{250, -1} {
		t.Run(fmt.Sprintf("welcome says %d", head), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) {
				var g got
				f.fill(250)
				opt := f.options(&g)
				opt.FromNewest = true
				opt.Store = new(Memory)
				c, s := f.connect(opt, head)
				synctest.Wait()
				f.fill(252)
				s.push(251)
				g.want(t, 251, 251)
				c.Close()

				c, _ = f.connect(opt, 252) // no longer new
				defer c.Close()
				g.want(t, 251, 252)
			})
		})
	}
}

func TestWhatIsPushedWhileTheNewestIsLookedForIsNew(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		f.fill(250)
		f.pullDelay = time.Second
		opt := f.options(&g)
		opt.FromNewest = true
		c, s := f.connect(opt, -1)
		defer c.Close()
		f.fill(252)
		s.push(251, 252)
		time.Sleep(time.Minute / 2)
		g.want(t, 251, 252)
	})
}

func TestAMessageThatWasNotHandledComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		broken := errors.New("disk full")
		opt := f.options(&g)
		opt.Store = new(Memory)
		opt.OnMessage = func(ctx context.Context, c *Client, m Message) error {
			if m.Seq == 3 {
				return broken
			}
			return g.message(ctx, c, m)
		}
		f.fill(5)
		c, _ := f.connect(opt, 5)
		<-c.Done()
		if !errors.Is(c.Err(), broken) {
			t.Errorf("stopped with %v", c.Err())
		}
		g.want(t, 1, 2)
		opt.OnMessage = g.message
		c, _ = f.connect(opt, 5)
		defer c.Close()
		g.want(t, 1, 5)
	})
}

func TestAStoreThatFailsStopsTheClient(t *testing.T) {
	bubble(t, func(t *testing.T, f *fake) {
		var g got
		opt := f.options(&g)
		opt.Store = &brokenStore{}
		f.fill(2)
		c, _ := f.connect(opt, 2)
		<-c.Done()
		if !errors.Is(c.Err(), errDisk) {
			t.Errorf("stopped with %v", c.Err())
		}
		g.want(t, 1, 1)
	})
}

var errDisk = errors.New("disk full")

type brokenStore struct{ Memory }

func (*brokenStore) SaveCursor(context.Context, int64) error { return errDisk }

var seed = flag.Uint64("seed", 0, "run the random tests with this seed only")

// Random schedules: pushes are lost, doubled and late, connections end, the
// inbox cannot be read for a while. Whatever happens, each message is handled
// once, in order, and in the end all of them.
func TestP3WhateverIsLostEveryMessageIsHandledOnceInOrder(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = make([]uint64, 60)
		for i := range seeds {
			seeds[i] = rand.Uint64()
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fake) { receiveAtRandom(t, f, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func receiveAtRandom(t *testing.T, f *fake, r *rand.Rand) {
	var g got
	opt := f.options(&g)
	slow := rand.New(rand.NewPCG(r.Uint64(), 0)) // of another goroutine
	opt.OnMessage = func(ctx context.Context, c *Client, m Message) error {
		time.Sleep(time.Duration(slow.IntN(20)) * time.Millisecond)
		return g.message(ctx, c, m)
	}
	last := int64(100 + r.IntN(400))
	c, s := f.connect(opt, 0)
	defer c.Close()
	var late sync.WaitGroup
	for n := int64(1); n <= last; n++ {
		f.fill(n)
		switch r.IntN(10) {
		case 0: // lost
		case 1:
			s.push(n, n)
		case 2:
			s, wait := s, time.Duration(r.IntN(500))*time.Millisecond
			late.Go(func() {
				time.Sleep(wait)
				s.tryWrite(frame.AppendMessage(nil, n, f.entry(n))) // the connection may have ended
			})
		default:
			s.push(n)
		}
		switch r.IntN(100) {
		case 0:
			late.Wait()
			s.close(0, nil)
			s = f.next()
			head := n
			if r.IntN(4) == 0 {
				head = -1
			}
			s.welcome(head)
		case 1:
			f.set(func() { f.pullErr = im.Unavailable })
		case 2, 3:
			f.set(func() { f.pullErr = "" })
		case 4:
			f.set(func() { f.pullDelay = time.Duration(r.IntN(300)) * time.Millisecond })
		}
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
	}
	late.Wait()
	f.set(func() { f.pullErr = "" })
	s.write(frame.FromServer{Type: frame.Behind, Head: last})
	time.Sleep(backoffMost)
	g.want(t, 1, last)
}
