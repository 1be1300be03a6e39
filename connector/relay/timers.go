package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/proc"
)

var settingTimers = proc.Setting{Name: "CONNECTOR_TIMERS", Doc: "which functions are called by the clock, as <function>=<how often>, separated by commas, such as outbox-relay=1m,session-sweep=1m; for platforms that have no cron"}

// A timer calls a function by the clock.
type timer struct {
	function string
	every    time.Duration
}

func parseTimers(list []string) ([]timer, error) {
	var timers []timer
	for _, s := range list {
		function, every, ok := strings.Cut(s, "=")
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if !ok || err != nil || d < time.Second {
			return nil, fmt.Errorf("setting %s: %q is not <function>=<how often>, of a second at least", settingTimers.Name, s)
		}
		timers = append(timers, timer{strings.TrimSpace(function), d})
	}
	return timers, nil
}

// runTimers calls each timed function, the first time within one interval, until
// ctx is done. Connectors do not agree about whose turn it is: such functions
// may be called as often as one likes.
func (r *Relay) runTimers(ctx context.Context) {
	var all errgroup.Group
	for _, t := range r.timers {
		all.Go(func() error {
			wait := time.NewTimer(rand.N(t.every))
			defer wait.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-wait.C:
				}
				wait.Reset(t.every)
				if err := r.poster.Tick(ctx, t.function, r.urls.Of(t.function)); err != nil && ctx.Err() == nil {
					r.env.Log.WarnContext(ctx, "calling a timed function", "function", t.function, "err", err)
				}
			}
		})
	}
	all.Wait()
}
