package retry

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepLastsAsLongAsItIsToldOrAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(why) })
		began = time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, why) || time.Since(began) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestWaitsGrowToTheirLimit(t *testing.T) {
	b := Backoff{30 * time.Second, time.Hour}
	for failures, want := range map[int]time.Duration{
		-1: b.First, 0: b.First, 1: b.First, 2: time.Minute, 3: 2 * time.Minute, 7: 32 * time.Minute, 8: b.Limit, 1000: b.Limit, math.MaxInt: b.Limit,
	} {
		if got := b.Bound(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
		for name, try := range map[string]struct {
			wait  func(int) time.Duration
			least time.Duration
		}{"full": {b.Full, 0}, "equal": {b.Equal, want / 2}} {
			seen := make(map[time.Duration]bool)
			for range 100 {
				d := try.wait(failures)
				seen[d] = true
				if d < try.least || d > want {
					t.Errorf("%s, after %d failures: %s", name, failures, d)
				}
			}
			if len(seen) < 50 {
				t.Errorf("there is no chance in %s", name)
			}
		}
	}
	if d := (Backoff{1, 1}).Equal(1); d != 0 && d != 1 {
		t.Errorf("of a nanosecond: %d", d)
	}
}

func TestWhoFailsIsLeftAlone(t *testing.T) {
	for _, after := range []int{1, 3} {
		now := time.Now()
		c := NewCircuit(after, Backoff{10 * time.Second, 5 * time.Minute})
		c.Now = func() time.Time { return now }
		for range after - 1 {
			c.Fail("a")
		}
		if c.Wait("a") != 0 {
			t.Error("it is left alone too early")
		}
		for _, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute} {
			c.Fail("a")
			if got := c.Wait("a"); got != want || c.Wait("b") != 0 {
				t.Errorf("for %s, want %s", got, want)
			}
			now = now.Add(want)
			if c.Wait("a") != 0 {
				t.Error("it is left alone for longer")
			}
		}
		c.Succeed("a")
		for range after - 1 {
			c.Fail("a")
		}
		if c.Wait("a") != 0 {
			t.Error("success is forgotten")
		}
	}
}

func TestP7ACircuitRemembersABoundedNumber(t *testing.T) {
	c := NewCircuit(1, Backoff{time.Second, time.Minute})
	for i := range 2*maxCircuit + 10 {
		if c.Fail(strconv.Itoa(i)); len(c.failed) > maxCircuit {
			t.Fatalf("it remembers %d", len(c.failed))
		}
	}
}
