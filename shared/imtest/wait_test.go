package imtest

import (
	"errors"
	"testing"
	"time"
)

func TestAThingIsWaitedForAndLeavesTimeForTheNext(t *testing.T) {
	asked := 0
	Eventually(t, "it is asked until it is there", func() error {
		if asked++; asked < 4 {
			return errors.New("not there")
		}
		return nil
	})
	if asked != 4 {
		t.Errorf("it was asked %d times", asked)
	}
	end, bounded := t.Deadline()
	if !bounded {
		end = time.Now().Add(24 * time.Hour)
	}
	if left := time.Until(end); Patience(t) <= 0 || Patience(t) > left/2 {
		t.Errorf("it would be waited for %s of %s", Patience(t), left)
	}
}
