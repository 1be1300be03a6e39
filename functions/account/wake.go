package account

import (
	"context"
	"log/slog"
	"sync"
)

// newWake returns a wake that calls mail-send by tick, one time at a time, and
// once more for all that ask meanwhile: the function may have looked already
// which mails there are. Nobody who asks for a mail can tell by its time what is
// in it.
func newWake(tick func(context.Context) error, log *slog.Logger) wake {
	var busy, next sync.Mutex
	return func() {
		if !next.TryLock() {
			return
		}
		go func() {
			busy.Lock()
			next.Unlock()
			defer busy.Unlock()
			// The function goes on if this does not wait.
			if err := tick(context.Background()); err != nil {
				log.Debug("mails wait for the clock", "err", err)
			}
		}()
	}
}
