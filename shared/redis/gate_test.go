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

// gate returns the gate of another process.
func gate(t testing.TB, url string, settings ...string) *Gate {
	t.Helper()
	g, err := OpenGate(t.Context(), env(t, url, settings...))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func someone() im.Caller { return im.Caller{User: im.NewID(), Session: im.NewID()} }

// overloaded fails the test unless err is Overloaded and says when to come again.
func overloaded(t *testing.T, err error) {
	t.Helper()
	var e *im.Error
	if !errors.As(err, &e) || e.Kind != im.Overloaded || e.RetryAfter <= 0 || e.RetryAfter > time.Hour {
		t.Errorf("error = %v (%+v)", err, e)
	}
}

func TestCallsAreLimitedByUser(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		// So slow that none comes back while the test runs.
		limits := []string{"CALLS_PER_SECOND", "1", "CALLS_BURST", "600"}
		a, b := gate(t, url, limits...), gate(t, url, limits...)
		ann := someone()
		for i, tt := range []struct {
			g           *Gate
			calls, want int
		}{{a, 1, 1}, {b, 2, 2}, {a, 590, 590}, {b, 500, 7}} {
			n, err := tt.g.Admit(t.Context(), ann, tt.calls)
			if n < tt.want || n > tt.want+5 || (err == nil) != (tt.want == tt.calls) {
				t.Errorf("%d: %d of %d admitted, %v", i, n, tt.calls, err)
			}
			if err != nil {
				overloaded(t, err)
			}
		}
		ann.Session = im.NewID()
		if n, err := a.Admit(t.Context(), ann, 500); n > 5 {
			t.Errorf("by another session %d are admitted", n)
		} else {
			overloaded(t, err)
		}
		if n, err := b.Admit(t.Context(), someone(), 500); n != 500 || err != nil {
			t.Errorf("another user: %d, %v", n, err)
		}
	})
}

func TestP6WhoseSessionHasEndedCallsNoMore(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		a, b := gate(t, url, "CALLS_BURST", "5"), gate(t, url, "CALLS_BURST", "5")
		ann := someone()
		if _, err := a.Admit(t.Context(), ann, 1); err != nil {
			t.Fatal(err)
		}
		if err := b.client.MarkEnded(t.Context(), ann.Session, time.Hour); err != nil {
			t.Fatal(err)
		}
		for range 20 { // whoever holds its token uses up none of the user's calls
			for _, g := range []*Gate{a, b} {
				if n, err := g.Admit(t.Context(), ann, 1); n != 0 || !errors.Is(err, im.Unauthenticated) {
					t.Errorf("%d admitted, %v", n, err)
				}
			}
		}
		ann.Session = im.NewID()
		if _, err := a.Admit(t.Context(), ann, 1); err != nil {
			t.Errorf("another session: %v", err)
		}
	})
}

func TestAnAnswerIsKeptUnderTheKeyOfACall(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		a, b := gate(t, url), gate(t, url)
		ann := someone()
		begin := func(g *Gate, c im.Caller, key, digest string) string {
			t.Helper()
			got, err := g.Begin(t.Context(), c, key, digest)
			if err != nil {
				var e *im.Error
				if !errors.As(err, &e) || e.Kind != im.Conflict {
					t.Fatal(err)
				}
				return fmt.Sprint("conflict ", e.RetryAfter)
			}
			if got == nil {
				return "taken"
			}
			return "answer " + string(got)
		}
		end := func(g *Gate, c im.Caller, key, digest string, answer []byte) {
			t.Helper()
			if err := g.End(t.Context(), c, key, digest, answer); err != nil {
				t.Fatal(err)
			}
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		want(begin(a, ann, "f:k", "d1"), "taken")
		want(begin(b, ann, "f:k", "d1"), "conflict 1s") // under way
		want(begin(b, ann, "f:k", "d2"), "conflict 0s") // another
		want(begin(b, ann, "g:k", "d1"), "taken")
		want(begin(b, someone(), "f:k", "d1"), "taken")
		end(a, ann, "f:k", "d1", nil)
		want(begin(b, ann, "f:k", "d2"), "taken")
		end(b, ann, "f:k", "d2", []byte("{\n\x00\xff}"))
		want(begin(a, ann, "f:k", "d2"), "answer {\n\x00\xff}")
		want(begin(a, ann, "f:k", "d1"), "conflict 0s")
		end(b, ann, "g:k", "d1", []byte{})
		want(begin(a, ann, "g:k", "d1"), "answer ")

		for key, most := range map[string]time.Duration{"f:k": a.window, "g:k": a.window} {
			if ttl := a.client.rdb.PTTL(t.Context(), onceKey(ann, key)).Val(); ttl <= most-time.Minute || ttl > most {
				t.Errorf("%s is kept for %s", key, ttl)
			}
		}
	})
}

func TestAKeyIsTakenForAsLongAsItsCallMayLast(t *testing.T) {
	g := gate(t, imtest.Redis(t))
	const mayLast = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), mayLast)
	defer cancel()
	begin := time.Now()
	ann := someone()
	if _, err := g.Begin(ctx, ann, "f:k", "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Begin(t.Context(), ann, "f:other", "d"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]time.Duration{"f:k": mayLast + takenPast, "f:other": takenFor} {
		ttl := g.client.rdb.PTTL(t.Context(), onceKey(ann, key)).Val()
		if least := want - time.Since(begin) - 4*time.Second; ttl < least || ttl > want {
			t.Errorf("%s is taken for %s, want %s", key, ttl, want)
		}
	}
}

func TestP7TheAnswersOfAUserTakeBoundedRoom(t *testing.T) {
	g := gate(t, imtest.Redis(t))
	ann := someone()
	answer := []byte(strings.Repeat("x", 100<<10))
	kept := 0
	for i := range 60 {
		key := fmt.Sprint("f:", i)
		if _, err := g.Begin(t.Context(), ann, key, "d"); err != nil {
			t.Fatal(err)
		}
		if err := g.End(t.Context(), ann, key, "d", answer); err != nil {
			t.Fatal(err)
		}
		switch got, err := g.Begin(t.Context(), ann, key, "d"); {
		case err != nil:
			t.Fatal(err)
		case got != nil:
			kept++
		}
	}
	if kept*len(answer) > keptBytes || (kept+2)*len(answer) < keptBytes {
		t.Errorf("%d answers are kept", kept)
	}
	if err := g.End(t.Context(), someone(), "f:k", "d", answer); err != nil {
		t.Errorf("another user: %v", err)
	}
}

func TestTheGateIsOpenWithoutRedis(t *testing.T) {
	s := imtest.Start(t, "redis")
	g := gate(t, s.URL, "CALLS_BURST", "1", "REDIS_TIMEOUT", "10m") // the gate waits no longer than it has to
	ann := someone()
	passes := func(t *testing.T) {
		t.Helper()
		begin := time.Now()
		for range 2 {
			if n, err := g.Admit(t.Context(), ann, 7); n != 7 || err != nil {
				t.Errorf("%d of 7 admitted, %v", n, err)
			}
		}
		if _, err := g.Begin(t.Context(), ann, "f:k", "d"); im.KindOf(err) != im.Unavailable {
			t.Errorf("Begin: %v", err)
		}
		for _, answer := range [][]byte{nil, []byte("x")} {
			if err := g.End(t.Context(), ann, "f:k", "d", answer); im.KindOf(err) != im.Unavailable {
				t.Errorf("End: %v", err)
			}
		}
		if took := time.Since(begin); took > 2*time.Minute {
			t.Errorf("it took %s", took)
		}
	}
	t.Run("frozen", func(t *testing.T) {
		s.Freeze()
		defer s.Thaw()
		passes(t)
	})
	t.Run("killed", func(t *testing.T) { s.Kill(); passes(t) })
	s.Restart()
	imtest.Eventually(t, "what is counted is counted again", func() error {
		if n, err := g.Admit(t.Context(), ann, 7); err == nil {
			return fmt.Errorf("%d of 7 admitted", n)
		}
		return nil
	})
}

func TestASessionThatIsKnownToHaveEndedHasEndedWithoutRedis(t *testing.T) {
	s := imtest.Start(t, "redis")
	g := gate(t, s.URL)
	ann := someone()
	if err := g.client.MarkEnded(t.Context(), ann.Session, time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := g.Admit(t.Context(), ann, 1); !errors.Is(err, im.Unauthenticated) {
			t.Errorf("error = %v", err)
		}
		s.Kill()
	}
}

func TestTheGateNeedsItsSettings(t *testing.T) {
	for name, value := range map[string]string{"REDIS_URL": "", "CALLS_PER_SECOND": "0", "CALLS_BURST": "x", "IDEMPOTENCY_WINDOW": "1"} {
		_, err := OpenGate(t.Context(), env(t, "redis://127.0.0.1:1", name, value))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
}

// What a call costs more: an ended session, a limit and, with a key, an answer.
func BenchmarkGate(b *testing.B) {
	g := gate(b, imtest.Redis(b), "CALLS_PER_SECOND", "1000000000", "CALLS_BURST", "1000000000")
	ann := someone()
	b.Run("Ping", func(b *testing.B) {
		for b.Loop() {
			if err := g.client.Ping(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Admit", func(b *testing.B) {
		for b.Loop() {
			if n, err := g.Admit(b.Context(), ann, 1); n != 1 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("BeginAndEnd", func(b *testing.B) {
		answer := []byte(strings.Repeat("x", 300))
		for i := 0; b.Loop(); i++ {
			key, c := fmt.Sprint(i), someone()
			if got, err := g.Begin(b.Context(), c, key, "d"); got != nil || err != nil {
				b.Fatal(got, err)
			}
			if err := g.End(b.Context(), c, key, "d", answer); err != nil {
				b.Fatal(err)
			}
		}
	})
}
