package away

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidings-im/tidings/shared/proc"
)

const (
	ringTime    = 30 * time.Second // of one ring
	ringAgain   = 10 * time.Second // after one that failed
	ringSpacing = 200 * time.Millisecond
)

// An alarm has a process send what is due when it is, rather than when the
// clock next calls notify-retry, which is what is left if the process ends.
type alarm struct {
	ring func(context.Context) error
	// next returns how long it is until something is due.
	next func(context.Context) (time.Duration, bool, error)
	log  *slog.Logger

	mu   sync.Mutex
	at   time.Time // when it is to ring; zero is not set
	wake chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// start sets an alarm going, which lasts until close.
func (a *alarm) start() {
	ctx, stop := context.WithCancel(context.Background())
	a.wake, a.stop, a.done = make(chan struct{}, 1), stop, make(chan struct{})
	go a.loop(ctx)
}

// close ends what rings, and waits for it.
func (a *alarm) close() error {
	a.stop()
	<-a.done
	return nil
}

// set has it ring in a while, or earlier if it was set so.
func (a *alarm) set(in time.Duration) {
	at := time.Now().Add(in)
	a.mu.Lock()
	sooner := a.at.IsZero() || at.Before(a.at)
	if sooner {
		a.at = at
	}
	a.mu.Unlock()
	if sooner {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

func (a *alarm) loop(ctx context.Context) {
	defer close(a.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		a.mu.Lock()
		at := a.at
		a.mu.Unlock()
		timer.Stop()
		if !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
			if at.IsZero() || time.Now().Before(at) {
				continue
			}
			a.mu.Lock()
			a.at = time.Time{}
			a.mu.Unlock()
			a.once(ctx)
		}
	}
}

// once rings, and sets the alarm for what is due next.
func (a *alarm) once(until context.Context) {
	ctx, cancel := context.WithTimeout(until, ringTime)
	defer cancel()
	in, more := time.Duration(0), false
	err := proc.Protect(func() error { return a.ring(ctx) })
	if err == nil {
		in, more, err = a.next(ctx)
	}
	switch {
	case until.Err() != nil: // what is left is of others
	case err != nil:
		a.log.WarnContext(ctx, "notifications are late", "err", err)
		a.set(ringAgain)
	case more:
		a.set(max(in, ringSpacing))
	}
}
