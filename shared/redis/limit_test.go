package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

func signIns(t *testing.T, url string, settings ...string) *SignIns {
	t.Helper()
	e := env(t, url, settings...)
	c, err := Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSignIns(e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSignInsAreLimitedByAccountAndByAddress(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		a, b := signIns(t, url, "SIGN_INS_PER_MINUTE", "3"), signIns(t, url, "SIGN_INS_PER_MINUTE", "3")
		refused := func(err error) {
			t.Helper()
			var e *im.Error
			if !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
				t.Errorf("error = %v (%+v)", err, e)
			}
		}
		// From one address, whatever the accounts, in two processes together.
		for i := range 3 {
			for j, s := range []*SignIns{a, b} {
				n := 2*i + j
				err := s.AllowSignIn(t.Context(), fmt.Sprint("victim", n), "192.0.2.1")
				if n < 3 && err != nil {
					t.Errorf("attempt %d: %v", n, err)
				} else if n >= 3 {
					refused(err)
				}
			}
		}
		if err := a.AllowSignIn(t.Context(), "victim5", "192.0.2.2"); err != nil {
			t.Errorf("from another address, after one that counted against no account: %v", err)
		}
		// One address does not keep the owner of an account out, many together have an end.
		for i := range 3 {
			if err := a.AllowSignIn(t.Context(), "ann", "192.0.2.3"); err != nil {
				t.Errorf("attempt %d of a stranger: %v", i, err)
			}
		}
		if err := a.AllowSignIn(t.Context(), "ann", "192.0.2.4"); err != nil {
			t.Errorf("the owner, from another address: %v", err)
		}
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = a.AllowSignIn(t.Context(), "ann", fmt.Sprint("198.51.100.", i))
		}
		refused(err)
		// Who is nowhere shares what there is, and registering counts apart.
		for i := range 3 {
			if err := a.AllowSignIn(t.Context(), fmt.Sprint("nowhere", i), ""); err != nil {
				t.Errorf("attempt %d from nowhere: %v", i, err)
			}
			if err := a.AllowRegistration(t.Context(), ""); err != nil {
				t.Errorf("registration %d from nowhere: %v", i, err)
			}
		}
		refused(a.AllowSignIn(t.Context(), "nowhere9", ""))
		refused(a.AllowRegistration(t.Context(), ""))
	})
}

// One customer has a /64, a /56 or a /48 of IPv6, and no more attempts than a few
// addresses have.
func TestP7AnAddressOfIPv6IsCountedByAllThatItsOwnerMayHave(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s := signIns(t, url, "SIGN_INS_PER_MINUTE", "10")
		made := func(address func(i int) string) (n int) {
			for i := range 40 {
				if err := s.AllowRegistration(t.Context(), address(i)); err == nil {
					n++
				} else {
					overloaded(t, err)
				}
			}
			return n
		}
		for _, tt := range []struct {
			of     string
			format string
			most   int
		}{
			{"a /48", "2001:db8:1:%x00::", 30},
			{"a /56", "2001:db8:2:%02x::", 20},
			{"a /64", "2001:db8:3:0:%x::", 10},
			{"as many addresses", "2001:db8:4%02x::", 40},
			{"as many of IPv4", "198.51.100.%d", 40},
		} {
			// A slow machine gives a few back meanwhile.
			if n := made(func(i int) string { return fmt.Sprintf(tt.format, i) }); n < tt.most || n > tt.most+3 && tt.most < 40 {
				t.Errorf("from %s %d accounts are made, not %d", tt.of, n, tt.most)
			}
		}
	})
}

// Strangers who try use up what strangers have.
func TestP7StrangersTakeNothingFromWhoWasLetInBefore(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		s := signIns(t, url, "SIGN_INS_PER_MINUTE", "3")
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = s.AllowSignIn(t.Context(), "ann", fmt.Sprint("198.51.100.", i))
		}
		overloaded(t, err)
		for i := range 3 {
			if err := s.AllowKnown(t.Context(), "ann", "phone"); err != nil {
				t.Errorf("attempt %d of a known device: %v", i, err)
			}
		}
		overloaded(t, s.AllowKnown(t.Context(), "ann", "phone"))
		if err := s.AllowKnown(t.Context(), "ann", "desk"); err != nil {
			t.Errorf("another known device: %v", err)
		}
		// Whoever signs in gets another lane each time: there is an end to these, too.
		lanes := func(account func(int) string, address string) (n int) {
			for err := error(nil); err == nil && n < 1000; n++ {
				err = s.AllowDevice(t.Context(), account(n), fmt.Sprint("lane ", n), address)
			}
			return n
		}
		if n := lanes(func(int) string { return "mallory" }, "192.0.2.1"); n > 40 {
			t.Errorf("an account has %d lanes in a minute", n)
		}
		if n := lanes(func(i int) string { return fmt.Sprint("mallory", i) }, "192.0.2.2"); n > 40 {
			t.Errorf("an address has %d known devices in a minute", n)
		}
		for i := range perHandle {
			if err := s.AllowReset(t.Context(), "ann@example.org", "hers"); err != nil {
				t.Errorf("attempt %d under a handle: %v", i, err)
			}
		}
		overloaded(t, s.AllowReset(t.Context(), "ann@example.org", "hers"))
		for err = nil; err == nil; {
			err = s.AllowReset(t.Context(), "ann@example.org", "")
		}
		if err := s.AllowReset(t.Context(), "ann@example.org", "her next"); err != nil {
			t.Errorf("under another handle: %v", err)
		}
	})
}

func TestNobodySignsInWithoutTheLimiter(t *testing.T) {
	s := imtest.Start(t, "redis")
	l := signIns(t, s.URL)
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.AllowSignIn(ctx, "ann", ""); im.KindOf(err) != im.Unavailable {
		t.Errorf("error = %v", err)
	}
}

func TestWhatHasALimitOfItsOwn(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		settings := []string{"SEARCHES_PER_MINUTE", "3", "FRIEND_REQUESTS_PER_HOUR", "2", "STRANGERS_ADDED_PER_HOUR", "4", "REACTIONS_PER_MINUTE", "2"}
		for of, most := range map[*Limited]int{&Searches: 3, &FriendRequests: 2, &Strangers: 4, &Reactions: 2} {
			var procs []*Limit
			for range 2 {
				l, err := OpenLimit(t.Context(), env(t, url, settings...), *of)
				if err != nil {
					t.Fatal(err)
				}
				procs = append(procs, l)
			}
			for i := range most + 3 {
				err := procs[i%2].Allow(t.Context(), "ann")
				if i < most && err != nil {
					t.Errorf("%s %d: %v", of.name, i, err)
				} else if i >= most {
					overloaded(t, err)
				}
			}
			if err := procs[0].Allow(t.Context(), "bob"); err != nil {
				t.Errorf("another user: %v", err)
			}
		}
	})
	if _, err := OpenLimit(t.Context(), env(t, "redis://127.0.0.1:1", "SEARCHES_PER_MINUTE", "0"), Searches); err == nil || !strings.Contains(err.Error(), "SEARCHES_PER_MINUTE") {
		t.Errorf("a limit of none: %v", err)
	}
	l, err := OpenLimit(t.Context(), env(t, "redis://127.0.0.1:1"), Searches)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Allow(t.Context(), "ann"); im.KindOf(err) != im.Unavailable {
		t.Errorf("without Redis: %v", err)
	}
}
