package account

import (
	"context"
	"log/slog"
	"sync"
)

// newWake returns a wake that calls mail-send by tick, one time at a time:
// whoever it is called for, it takes all there is. Nobody who asks for a mail
// can tell by its time what is in it.
func newWake(tick func(context.Context) error, log *slog.Logger) wake {
	var busy sync.Mutex
	return func() {
		if !busy.TryLock() {
			return
		}
		go func() {
			defer busy.Unlock()
			// The function goes on if this does not wait.
			if err := tick(context.Background()); err != nil {
				log.Debug("mails wait for the clock", "err", err)
			}
		}()
	}
}
