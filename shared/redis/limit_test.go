package redis

import (
	"context"
	"errors"
	"fmt"
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
		for i := range 3 {
			for j, s := range []*SignIns{a, b} { // two processes share the limit
				err := s.Allow(t.Context(), "ann", "")
				if n := 2*i + j; n < 3 && err != nil {
					t.Errorf("attempt %d: %v", n, err)
				} else if n >= 3 {
					refused(err)
				}
			}
		}
		if err := a.Allow(t.Context(), "bob", ""); err != nil {
			t.Errorf("another account: %v", err)
		}
		for i := range 3 {
			if err := a.Allow(t.Context(), fmt.Sprint("victim", i), "192.0.2.1"); err != nil {
				t.Errorf("attempt %d from an address: %v", i, err)
			}
		}
		refused(a.Allow(t.Context(), "victim9", "192.0.2.1"))
		for range 2 {
			refused(a.Allow(t.Context(), "victim9", "192.0.2.1"))
		}
		if err := a.Allow(t.Context(), "victim9", "192.0.2.2"); err != nil {
			t.Errorf("from another address, after three that counted for nothing: %v", err)
		}
	})
}

func TestNobodySignsInWithoutTheLimiter(t *testing.T) {
	s := imtest.Start(t, "redis")
	l := signIns(t, s.URL)
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := l.Allow(ctx, "ann", ""); im.KindOf(err) != im.Unavailable {
		t.Errorf("error = %v", err)
	}
}
