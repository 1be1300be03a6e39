package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// toldOf returns what others were told of a user, in order.
func (s *system) toldOf(user string) []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var online []bool
	for _, p := range s.told {
		if p.User == user {
			online = append(online, p.Online)
		}
	}
	return online
}

// becomesTold waits until others have been told this of a user.
func (s *system) becomesTold(user string, want ...bool) {
	s.t.Helper()
	imtest.Eventually(s.t, fmt.Sprintf("others are told %v", want), func() error {
		if got := s.toldOf(user); !slices.Equal(got, want) {
			return fmt.Errorf("they are told %v", got)
		}
		return nil
	})
}

func TestOthersAreToldWhoComesAndGoes(t *testing.T) {
	s := newSystem(t)
	first, second := s.gateway("PRESENCE_LEASE", "900ms"), s.gateway("PRESENCE_LEASE", "900ms")
	ann := someone("web")
	p := s.dial(first, ann)
	s.becomesTold(ann.User, true)
	q := s.dial(second, on(ann, "device-2", "ios"))
	p.ws.Close()
	s.become(ann.User, q.welcome.Conn)
	q.ws.Close() // and comes back at once, elsewhere
	r := s.dial(first, on(ann, "device-2", "ios"))
	r.quiet(2 * time.Second) // longer than the grace, the lease, and until somebody looks
	s.becomesTold(ann.User, true)
	r.ws.Close()
	s.becomesTold(ann.User, true, false)
	s.dial(second, ann)
	s.becomesTold(ann.User, true, false, true)
}

// The clients of a gateway that is stopped come back to another, and nobody is
// told; who does not come back is found out by the other.
func TestOthersAreToldWhoDoesNotComeBackAfterAGatewayStopped(t *testing.T) {
	s := newSystem(t)
	first, second := s.gateway("PRESENCE_LEASE", "900ms"), s.gateway("PRESENCE_LEASE", "900ms")
	var came []im.Caller
	for range 20 {
		c := someone("web")
		came = append(came, c)
		s.dial(first, c)
	}
	for _, c := range came {
		s.becomesTold(c.User, true)
	}
	first.end()
	for _, c := range came[:10] {
		s.dial(second, c)
	}
	for i, c := range came {
		if i >= 10 {
			s.becomesTold(c.User, true, false)
		}
	}
	for _, c := range came[:10] {
		s.becomesTold(c.User, true)
	}
}

// A gateway that dies says nothing. Others find out when the leases have ended.
func TestOthersAreToldWhoseGatewayDied(t *testing.T) {
	s := newSystem(t)
	presence, err := s.redis.NewPresence(s.gateway().env, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// The connection of a gateway that was killed after it renewed it once.
	ann := someone("web")
	c, _, err := presence.Connect(t.Context(), im.Conn{ID: im.NewID(), User: ann.User, Gateway: im.NewID(), Device: ann.Device, Platform: ann.Platform, Session: ann.Session})
	if err != nil {
		t.Fatal(err)
	}
	s.becomesTold(ann.User, true)
	if _, err := presence.Refresh(t.Context(), []im.Conn{c}); err != nil {
		t.Fatal(err)
	}
	s.becomesTold(ann.User, true, false)
}
