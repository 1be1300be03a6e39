package e2e

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// A fault is something that breaks in the middle of traffic, and heals.
type fault struct {
	name   string
	broken func(*system)
	heal   func(*system)
	lasts  time.Duration
}

func faults(s *system) []fault {
	var all []fault
	for _, part := range []string{"gateway-1", "gateway-2", "chat-ingest", "persist-history", "persist-inbox", "push-fanout", "connector", "all-in-one"} {
		p := s.parts[part]
		all = append(all, fault{part + " is killed", func(*system) { p.Kill() }, func(*system) { p.Restart() }, time.Second})
	}
	for _, part := range []string{"persist-inbox", "connector", "chat-ingest"} {
		p := s.parts[part]
		all = append(all, fault{part + " is frozen", func(*system) { p.Freeze() }, func(*system) { p.Thaw() }, 2 * time.Second})
	}
	return append(all,
		fault{"PostgreSQL is frozen", func(s *system) { s.postgres.Freeze() }, func(s *system) { s.postgres.Thaw() }, 2 * time.Second},
		fault{"PostgreSQL is killed", func(s *system) { s.postgres.Kill() }, func(s *system) { s.postgres.Restart() }, 2 * time.Second},
		fault{"Kafka is frozen", func(s *system) { s.kafka.Freeze() }, func(s *system) { s.kafka.Thaw() }, 2 * time.Second},
		fault{"Kafka is killed", func(s *system) { s.kafka.Kill() }, func(s *system) { s.kafka.Restart() }, 2 * time.Second},
		fault{"Redis is frozen", func(s *system) { s.redis.Freeze() }, func(s *system) { s.redis.Thaw() }, 2 * time.Second},
		fault{"Redis is killed", func(s *system) { s.redis.Kill() }, func(s *system) { s.redis.Restart() }, 2 * time.Second},
		fault{"Redis is wiped", (*system).wipeRedis, func(*system) {}, time.Second},
		fault{"everything is killed at once", func(s *system) {
			for _, p := range s.parts {
				p.Kill()
			}
		}, func(s *system) {
			for _, p := range s.parts {
				p.Restart()
			}
		}, time.Second},
	)
}

// wipeRedis makes Redis forget everything.
func (s *system) wipeRedis() {
	conn, err := net.Dial("tcp", s.redis.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "FLUSHALL\r\n")
	answer := make([]byte, 5)
	if _, err := conn.Read(answer); err != nil || string(answer[:3]) != "+OK" {
		s.t.Fatalf("wiping Redis: %q, %v", answer, err)
	}
}

// Whatever is killed, frozen or wiped in the middle of traffic: every accepted
// message is once in the history and once in each inbox, and every client ends
// with all of them, in one order.
func TestP1P2P3P4P5NothingIsLostDoubledOrOutOfOrderWhateverBreaks(t *testing.T) {
	s := start(t)
	c := gather(t, 6, s.gateways...)
	stop := c.talking(t, 20*time.Millisecond)
	defer func() { stop() }()

	for _, f := range faults(s) {
		before := c.accepted()
		f.broken(s)
		time.Sleep(f.lasts) // the fault itself, not a wait for something
		f.heal(s)
		healed := time.Now()
		eventually(t, time.Minute, "after "+f.name+", everybody's messages are accepted again", func() error {
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
	c.caughtUp(t, time.Minute)
	c.check(t, s.postgres.URL)
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
	s := start(t)
	c := gather(t, 4, s.gateways...)
	s.parts["push-fanout"].Kill()
	stop := c.talking(t, 20*time.Millisecond)
	eventually(t, 30*time.Second, "everybody talks", func() error {
		if slices.Min(c.accepted()) < 20 {
			return errNotYet
		}
		return nil
	})
	stop()
	c.caughtUp(t, 30*time.Second)
	c.check(t, s.postgres.URL)
}

// In quiet times, on whatever Kafka is given: the same checks with nothing broken.
func TestP1P2P3P4EverybodyGetsEverythingInOneOrder(t *testing.T) {
	s := start(t)
	c := gather(t, 6, s.gateways...)
	stop := c.talking(t, 5*time.Millisecond)
	eventually(t, time.Minute, "everybody talks", func() error {
		if slices.Min(c.accepted()) < 100 {
			return errNotYet
		}
		return nil
	})
	stop()
	c.caughtUp(t, 30*time.Second)
	c.check(t, s.postgres.URL)
	c.checkHistory(t)
}
