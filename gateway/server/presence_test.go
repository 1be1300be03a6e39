package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// present returns the ids of a user's connections as Redis has them.
func (s *system) present(user string) ([]string, error) {
	conns, err := s.redis.Lookup(s.t.Context(), []string{user})
	var ids []string
	for _, c := range conns[user] {
		ids = append(ids, c.ID)
	}
	return ids, err
}

// become waits until a user's connections are these.
func (s *system) become(user string, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	imtest.Eventually(s.t, fmt.Sprintf("the connections are %v", want), func() error {
		got, err := s.present(user)
		slices.Sort(got)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("they are %v", got)
		}
		return err
	})
}

func on(c im.Caller, device, platform string) im.Caller {
	return im.Caller{User: c.User, Session: im.NewID(), Device: device, Platform: platform}
}

func TestAConnectionIsPresentWhileItLasts(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("PRESENCE_LEASE", "600ms")
	p := s.dial(g, someone("web"))
	conns, err := s.redis.Lookup(t.Context(), []string{p.User})
	if err != nil || len(conns[p.User]) != 1 {
		t.Fatalf("%v %v", conns, err)
	}
	got := conns[p.User][0]
	got.Since = 0
	if want := (im.Conn{ID: p.welcome.Conn, User: p.User, Gateway: g.id, Device: p.Device, Platform: p.Platform, Session: p.Session}); got != want {
		t.Errorf("present as %+v, want %+v", got, want)
	}
	p.quiet(time.Second) // longer than a lease
	s.become(p.User, p.welcome.Conn)
	p.ws.Close()
	s.become(p.User)
}

func TestALaterConnectionTakesThePlaceOfAnEarlierOne(t *testing.T) {
	s := newSystem(t)
	first, second := s.gateway(), s.gateway()
	for _, tt := range []struct {
		name             string
		device, platform string
		replaced         bool
	}{
		{"of the same device", "device-1", "web", true},
		{"of the same platform", "device-2", "web", true},
		{"but not of another", "device-2", "ios", false},
	} {
		for name, g := range map[string]*gate{"here": first, "on another gateway": second} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				ann := someone("web")
				old := s.dial(first, ann)
				young := s.dial(g, on(ann, tt.device, tt.platform))
				if !tt.replaced {
					old.quiet(50 * time.Millisecond)
					s.become(ann.User, old.welcome.Conn, young.welcome.Conn)
					return
				}
				old.closed(frame.CloseReplaced)
				s.become(ann.User, young.welcome.Conn)
				young.quiet(50 * time.Millisecond)
			})
		}
	}
}

// Many connections of one platform, made at once at two gateways: one remains,
// and it is not thrown out by who came before.
func TestOfConnectionsMadeAtOnceOneRemains(t *testing.T) {
	s := newSystem(t)
	gates := []*gate{s.gateway("PRESENCE_LEASE", "600ms"), s.gateway("PRESENCE_LEASE", "600ms")}
	ann := someone("web")
	const n = 12
	peers := make([]*peer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			peers[i] = s.open(gates[i%2], on(ann, fmt.Sprint("device-", i), "web"))
			peers[i].read()
		})
	}
	all.Wait()
	open := func() (left []*peer) {
		for _, p := range peers {
			select {
			case err := <-p.end:
				p.end <- err
			default:
				left = append(left, p)
			}
		}
		return left
	}
	imtest.Eventually(t, "one remains", func() error {
		if left := open(); len(left) != 1 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
	time.Sleep(700 * time.Millisecond) // through some renewals
	if left := open(); len(left) != 1 {
		t.Errorf("%d are left later", len(left))
	}
	if ids, err := s.present(ann.User); err != nil || len(ids) != 1 {
		t.Errorf("present are %v %v", ids, err)
	}
}

// A gateway that is not told that its connection was replaced finds out when
// it renews the lease.
func TestAReplacementThatIsNotToldIsFoundOut(t *testing.T) {
	s := newSystem(t)
	deaf := s.gateway("PRESENCE_LEASE", "600ms", "GATEWAY_INTERNAL_URL", "http://127.0.0.1:1")
	g := s.gateway()
	ann := someone("web")
	old := s.dial(deaf, ann)
	young := s.dial(g, on(ann, "device-2", "web"))
	old.closed(frame.CloseReplaced)
	young.quiet(50 * time.Millisecond)
	s.become(ann.User, young.welcome.Conn)
}

func TestMoreConnectionsThanAUserMayHave(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("MAX_CONNECTIONS_PER_USER", "2", "ONE_CONNECTION_PER_PLATFORM", "false")
	ann := someone("web")
	first := s.dial(g, ann)
	second := s.dial(g, on(ann, "device-2", "web"))
	third := s.dial(g, on(ann, "device-3", "web"))
	first.closed(frame.CloseTooMany)
	s.become(ann.User, second.welcome.Conn, third.welcome.Conn)
}

func TestWithoutRedisClientsAreLetInAndPresenceIsMendedLater(t *testing.T) {
	service := imtest.Start(t, "redis")
	s := newSystemOn(t, service.URL)
	g := s.gateway("PRESENCE_LEASE", "1s")
	before := s.dial(g, someone("web"))
	service.Kill()
	p := s.dial(g, someone("web"))
	p.send("m1", im.NewID())
	p.next(frame.Accepted)
	// One connection too many is settled later, too.
	twin := s.dial(g, on(p.Caller, "device-2", "web"))
	service.Restart()
	s.become(before.User, before.welcome.Conn)
	s.become(p.User, twin.welcome.Conn)
	p.closed(frame.CloseReplaced)
	imtest.Eventually(t, "the gateway is registered again", func() error {
		urls, err := s.redis.NewGateways(imtest.Env(s.t, nil)).URLs(t.Context(), []string{g.id})
		if err == nil && urls[g.id] != g.InternalURL {
			err = errors.New("it is not there")
		}
		return err
	})
	twin.quiet(20 * time.Millisecond)
}

// A Redis that hangs, as one that is down does not, must not keep anybody out
// for long.
func TestWithoutAnAnswerFromRedisClientsAreLetIn(t *testing.T) {
	service := imtest.Start(t, "redis")
	s := newSystemOn(t, service.URL)
	g := s.gateway()
	s.dial(g, someone("web"))
	service.Freeze()
	defer service.Thaw()
	start := time.Now()
	for range 5 {
		p := s.dial(g, someone("web"))
		p.send("m1", im.NewID())
		p.next(frame.Accepted)
	}
	if d := time.Since(start); d > patience { // Redis would hold them up for ever
		t.Errorf("five connections took %s", d)
	}
}

func TestPresenceIsRestoredAfterRedisLostItsMemory(t *testing.T) {
	service := imtest.Start(t, "redis")
	s := newSystemOn(t, service.URL)
	gates := []*gate{s.gateway("PRESENCE_LEASE", "900ms"), s.gateway("PRESENCE_LEASE", "900ms")}
	conns := map[string]string{}
	for i := range 20 {
		p := s.dial(gates[i%2], someone("web"))
		conns[p.User] = p.welcome.Conn
	}
	wipe(t, service.URL)
	for user, conn := range maps.All(conns) {
		s.become(user, conn)
	}
}

// wipe has a Redis forget everything.
func wipe(t *testing.T, url string) {
	t.Helper()
	opt, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(opt)
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestDraining(t *testing.T) {
	s := newSystem(t)
	g := s.gateway("DRAIN", "300ms", "DRAIN_SPREAD", "10s")
	arrived, release := make(chan struct{}), make(chan struct{})
	s.onIngest(func(ctx context.Context, batch []event.Submitted) []fn.Reply[event.Placed] {
		close(arrived)
		<-release
		return accept(ctx, batch)
	})
	busy := s.dial(g, someone("web"))
	busy.send("m1", im.NewID())
	<-arrived
	var idle []*peer
	for range 20 {
		idle = append(idle, s.dial(g, someone("web")))
	}
	g.stop()
	imtest.Eventually(t, "it says that it is not ready", func() error {
		resp, err := http.Get(g.URL + "/readyz")
		if err == nil && resp.StatusCode != http.StatusServiceUnavailable {
			err = errors.New(resp.Status)
		}
		return err
	})
	s.dial(g, someone("web")) // it still takes who comes
	waits := map[int64]bool{}
	for _, p := range idle {
		bye := p.closed(frame.CloseDraining)
		if bye.RetryAfterMS < 0 || bye.RetryAfterMS > 10_000 {
			t.Errorf("may come back after %d ms", bye.RetryAfterMS)
		}
		waits[bye.RetryAfterMS] = true
		s.become(p.User)
	}
	if len(waits) < 15 {
		t.Errorf("20 clients come back at only %d different times", len(waits))
	}
	close(release)
	if f := busy.next(frame.Accepted); f.ID != "m1" {
		t.Errorf("answered by %+v", f)
	}
	busy.closed(frame.CloseDraining)
	g.end()
	urls, err := s.redis.NewGateways(imtest.Env(s.t, nil)).URLs(t.Context(), []string{g.id})
	if err != nil || len(urls) != 0 {
		t.Errorf("registered are %v %v", urls, err)
	}
	if _, err := http.Get(g.URL + "/readyz"); err == nil {
		t.Error("it listens still")
	}
}
