package outbox

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	relayAge   = 5 * time.Second // older notices are the relay's: their makers have given up
	relayBatch = 100
)

// Relay publishes what those who made changes have left, the earliest first,
// until there is none or most of the time that ctx leaves it is over. What can
// never be published it sets aside, so that it holds up nothing else; with any
// other error it ends.
//
// It may be run by many at once: what is published twice is one message.
func (o *Outbox) Relay(ctx context.Context) error {
	deadline, bounded := ctx.Deadline()
	enough := time.Now().Add(time.Until(deadline) * 3 / 4)
	for {
		n, err := o.relay(ctx)
		switch {
		case n == 0 || err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case bounded && time.Now().After(enough):
			return nil // the next run goes on
		}
	}
}

// ageOf returns the age in seconds of the earliest of pending, which is the first.
func ageOf(pending []im.Pending) float64 {
	if len(pending) == 0 {
		return 0
	}
	return time.Since(pending[0].Time.Std()).Seconds()
}

// relay publishes the earliest notices and returns how many it is rid of.
func (o *Outbox) relay(ctx context.Context) (int, error) {
	waiting, broken, err := o.store.Pending(ctx, relayAge, relayBatch)
	if err != nil {
		return 0, err
	}
	o.metrics.age.Set(ageOf(waiting))
	aside := make(map[string]error) // why, by id
	maps.Copy(aside, broken)
	var pending []im.Pending
	var events []event.Event
	for _, p := range waiting {
		e, err := o.event(p)
		if err != nil {
			aside[p.ID] = err
			continue
		}
		pending, events = append(pending, p), append(events, e)
	}
	errs, err := o.publish(ctx, pending, events)
	if err != nil {
		return 0, err
	}
	var later []error
	done := 0
	for i, err := range errs {
		switch {
		case err == nil:
			done++
		case im.KindOf(err).Transient():
			later = append(later, err)
		default:
			aside[pending[i].ID] = err
		}
	}
	if done > 0 {
		o.metrics.relayed.Add(float64(done))
		o.log.InfoContext(ctx, "published notices that were left", "notices", done)
	}
	for id, why := range aside {
		o.log.ErrorContext(ctx, "a notice cannot be published and is set aside", "notice", id, "err", why)
		o.metrics.aside.Inc()
		if err := o.store.SetAside(ctx, id, why); err != nil {
			return 0, err
		}
	}
	return done + len(aside), errors.Join(later...)
}
