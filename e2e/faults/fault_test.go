package faults

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/e2e/system"
	"github.com/tidings-im/tidings/shared/imtest"
)

// A fault is something that breaks in the middle of traffic, and heals.
type fault struct {
	name   string
	broken func(*system.System)
	heal   func(*system.System)
	lasts  time.Duration
}

func faults(t *testing.T, s *system.System) []fault {
	var all []fault
	for _, part := range []string{"gateway-1", "gateway-2", "chat-ingest", "persist-history", "persist-inbox", "push-fanout", "connector", "functions"} {
		p := s.Parts[part]
		all = append(all, fault{part + " is killed", func(*system.System) { p.Kill() }, func(*system.System) { p.Restart() }, time.Second})
	}
	for _, part := range []string{"persist-inbox", "connector", "chat-ingest"} {
		p := s.Parts[part]
		all = append(all, fault{part + " is frozen", func(*system.System) { p.Freeze() }, func(*system.System) { p.Thaw() }, 2 * time.Second})
	}
	return append(all,
		fault{"PostgreSQL is frozen", func(s *system.System) { s.Postgres.Freeze() }, func(s *system.System) { s.Postgres.Thaw() }, 2 * time.Second},
		fault{"PostgreSQL is killed", func(s *system.System) { s.Postgres.Kill() }, func(s *system.System) { s.Postgres.Restart() }, 2 * time.Second},
		fault{"Kafka is frozen", func(s *system.System) { s.Kafka.Freeze() }, func(s *system.System) { s.Kafka.Thaw() }, 2 * time.Second},
		fault{"Kafka is killed", func(s *system.System) { s.Kafka.Kill() }, func(s *system.System) { s.Kafka.Restart() }, 2 * time.Second},
		fault{"Redis is frozen", func(s *system.System) { s.Redis.Freeze() }, func(s *system.System) { s.Redis.Thaw() }, 2 * time.Second},
		fault{"Redis is killed", func(s *system.System) { s.Redis.Kill() }, func(s *system.System) { s.Redis.Restart() }, 2 * time.Second},
		fault{"Redis is wiped", func(s *system.System) { wipeRedis(t, s.Redis.Addr) }, func(*system.System) {}, time.Second},
		fault{"everything is killed at once", func(s *system.System) {
			for _, p := range s.Parts {
				p.Kill()
			}
		}, func(s *system.System) {
			for _, p := range s.Parts {
				p.Restart()
			}
		}, time.Second},
	)
}

// wipeRedis makes Redis forget everything.
func wipeRedis(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "FLUSHALL\r\n")
	answer := make([]byte, 5)
	if _, err := conn.Read(answer); err != nil || string(answer[:3]) != "+OK" {
		t.Fatalf("wiping Redis: %q, %v", answer, err)
	}
}

// Whatever is killed, frozen or wiped in the middle of traffic: every accepted
// message is once in the history and once in each inbox, and every client ends
// with all of them, in one order.
func TestP1P2P3P4P5NothingIsLostDoubledOrOutOfOrderWhateverBreaks(t *testing.T) {
	s := system.Start(t)
	c := gather(t, 6, s.Gateways...)
	stop := c.talking(t, 20*time.Millisecond)
	defer func() { stop() }()

	for _, f := range faults(t, s) {
		before := c.accepted()
		f.broken(s)
		time.Sleep(f.lasts) // the fault itself, not a wait for something
		f.heal(s)
		healed := time.Now()
		imtest.Eventually(t, "after "+f.name+", everybody's messages are accepted again", func() error {
			for i, n := range c.accepted() {
				if n < before[i]+5 {
					return fmt.Errorf("%s has %d more", c.people[i].user.Account, n-before[i])
				}
			}
			return nil
		})
		t.Logf("%s for %s: all are talking again %s after it healed", f.name, f.lasts, time.Since(healed).Round(time.Millisecond))
	}
	stop()
	c.caughtUp(t)
	c.check(t, s.Postgres.URL)
	c.checkHistory(t)
}

func (c *crowd) accepted() []int {
	n := make([]int, len(c.people))
	for i, p := range c.people {
		p.mu.Lock()
		n[i] = len(p.accepted)
		p.mu.Unlock()
	}
	return n
}

// A push that is lost is noticed: with push-fanout dead, nothing is pushed at
// all, and clients learn from their gateway that they are behind.
func TestP3AClientLearnsThatItIsBehindWhenEveryPushIsLost(t *testing.T) {
	s := system.Start(t)
	c := gather(t, 4, s.Gateways...)
	s.Parts["push-fanout"].Kill()
	stop := c.talking(t, 20*time.Millisecond)
	imtest.Until(t, "everybody talks", func() bool { return slices.Min(c.accepted()) >= 20 })
	stop()
	c.caughtUp(t)
	c.check(t, s.Postgres.URL)
}

// In quiet times, on whatever Kafka is given: the same checks with nothing broken.
func TestP1P2P3P4EverybodyGetsEverythingInOneOrder(t *testing.T) {
	s := system.Start(t)
	c := gather(t, 6, s.Gateways...)
	stop := c.talking(t, 5*time.Millisecond)
	imtest.Until(t, "everybody talks", func() bool { return slices.Min(c.accepted()) >= 100 })
	stop()
	c.caughtUp(t)
	c.check(t, s.Postgres.URL)
	c.checkHistory(t)
}
