package imtest

import (
	"errors"
	"testing"
	"time"
)

// Patience returns for how long a test may wait for one thing, however slow the
// machine is: half of what is left until the tests of its package have to have
// ended, so that it can say what did not come, and those after it can, too.
func Patience(t testing.TB) time.Duration {
	const unbounded = 10 * time.Minute // go test's own default
	if bound, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := bound.Deadline(); ok {
			return time.Until(at) / 2
		}
	}
	return unbounded
}

// Eventually waits until f succeeds, for as long as Patience says. what says
// what is waited for.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	patience := Patience(t)
	const often, seldom = 5 * time.Millisecond, 100 * time.Millisecond
	pause := often
	for deadline := time.Now().Add(patience); ; {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience.Round(time.Second), err)
		}
		time.Sleep(pause)
		pause = min(2*pause, seldom) // what takes long is not made slower by being asked
	}
}

// Until waits until ok, likewise.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Eventually(t, what, func() error {
		if ok() {
			return nil
		}
		return errNotYet
	})
}

var errNotYet = errors.New("not yet")
