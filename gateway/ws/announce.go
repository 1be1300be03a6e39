package ws

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/retry"
)

// When gateways look who has come or gone.
const (
	dueEvery = time.Second           // at least
	dueApart = 50 * time.Millisecond // at most, while there is something to do
	duePause = 5 * time.Second       // after it did not work
)

// announce has push-presence look at users who may have come or gone, whichever
// gateway they were at. What it does not get to waits in Redis, once for each
// user, so that many who come back at once are no more than that.
func (h *Hub) announce(ctx context.Context) {
	idle := dueEvery
	for {
		select {
		case <-time.After(idle):
		case <-h.arrived:
		case <-ctx.Done():
			return
		}
		n, err := h.lookAtDue(ctx)
		rest := dueApart // for others who come at the same time
		switch {
		case err != nil:
			h.Metrics.looks.WithLabelValues("failed").Add(float64(n))
			h.Log.Debug("having presence looked at", "function", "push-presence", "count", n, "err", err)
			rest = duePause
		case n > 0:
			h.Metrics.looks.WithLabelValues("done").Add(float64(n))
			idle = 0
		default:
			idle = dueEvery
		}
		if retry.Sleep(ctx, rest) != nil {
			return
		}
	}
}

// lookAtDue takes some users who are due, and returns how many.
func (h *Hub) lookAtDue(ctx context.Context) (int, error) {
	if h.redis.open() {
		return 0, errPaused
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	users, done, err := h.Presence.Due(ctx)
	if err != nil || len(users) == 0 {
		return 0, err
	}
	events := make([]event.Event, len(users))
	for i, user := range users {
		if events[i], err = h.seal(event.PresenceChanged, user, event.Changed{User: user}); err != nil {
			return len(users), err
		}
	}
	results, err := h.Present(ctx, events)
	if err != nil {
		return len(users), err
	}
	for _, r := range results {
		if err := r.Err(); err != nil { // all of them again: who was told is not told twice
			return len(users), err
		}
	}
	return len(users), done(ctx)
}
