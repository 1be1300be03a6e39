package away

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestP7APanicOfOneRingIsNotTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rung := 0
		a := &alarm{
			ring: func(context.Context) error {
				if rung++; rung == 1 {
					panic("at the disco")
				}
				return nil
			},
			next: func(context.Context) (time.Duration, bool, error) { return 0, false, errors.New("enough") },
			log:  slog.New(slog.DiscardHandler),
		}
		a.start()
		a.set(0)
		time.Sleep(ringAgain + time.Second)
		if err := a.close(); err != nil {
			t.Error(err)
		}
		if rung < 2 {
			t.Errorf("it has rung %d times", rung)
		}
	})
}
