package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	relayAge   = 5 * time.Second // older notices are the relay's: their makers have given up
	relayBatch = 100

	mostLeft   = 10 * relayBatch // notices that fail in a run, after which there is no sense in going on
	mostErrors = 5               // of them that are told of
)

// Relay publishes what those who made changes have left, the earliest first,
// until there is none or most of the time that ctx leaves it is over. What can
// never be published it sets aside. What cannot be published now it leaves to
// the next run, and with it the later notices of its conversation; neither
// holds up those of others. With an error of the database it ends.
//
// It may be run by many at once: what is published twice is one message.
func (o *Outbox) Relay(ctx context.Context) error {
	deadline, bounded := ctx.Deadline()
	enough := time.Now().Add(time.Until(deadline) * 3 / 4)
	r := relay{Outbox: o, stuck: make(map[im.Conversation]bool)}
	for {
		n, err := r.batch(ctx)
		switch {
		case err != nil:
			return err
		case n == 0 || r.left >= mostLeft:
			return r.err()
		case ctx.Err() != nil:
			return ctx.Err()
		case bounded && time.Now().After(enough):
			return r.err() // the next run goes on
		}
	}
}

// A relay is one run through the outbox.
type relay struct {
	*Outbox
	last  im.Pending               // that was looked at
	first im.Time                  // of the earliest that is left; 0 if none is
	stuck map[im.Conversation]bool // of which notices are left
	left  int                      // notices that failed
	errs  []error                  // why, of some
}

func (r *relay) err() error {
	if r.left == 0 {
		return nil
	}
	return fmt.Errorf("%d notices are left to the next run: %w", r.left, errors.Join(r.errs...))
}

// setAge says how old the earliest notice is that waits.
func (r *relay) setAge(waiting []im.Pending) {
	at := r.first
	if at == 0 && len(waiting) > 0 {
		at = waiting[0].Time
	}
	if at == 0 {
		r.metrics.age.Set(0)
		return
	}
	r.metrics.age.Set(time.Since(at.Std()).Seconds())
}

// leave leaves a notice to the next run.
func (r *relay) leave(p im.Pending, err error) {
	if r.first == 0 {
		r.first = p.Time
	}
	r.stuck[p.Conversation] = true
	r.left++
	if len(r.errs) < mostErrors {
		r.errs = append(r.errs, err)
	}
}

// batch publishes the earliest notices that this run has not looked at, and
// returns how many there were.
//
// Those of one conversation go into one partition of the message log in their
// order, and none of them after one that does not get there.
func (r *relay) batch(ctx context.Context) (int, error) {
	waiting, broken, err := r.store.Pending(ctx, relayAge, r.last, relayBatch)
	if err != nil {
		return 0, err
	}
	r.setAge(waiting)
	aside := make(map[string]error) // why, by id
	maps.Copy(aside, broken)
	var pending []im.Pending
	var events []event.Event
	for _, p := range waiting {
		r.last = p
		e, err := r.event(p)
		switch {
		case err != nil:
			aside[p.ID] = err
		case !r.stuck[p.Conversation]:
			pending, events = append(pending, p), append(events, e)
		}
	}
	errs, err := r.publish(ctx, pending, events)
	if err != nil {
		return 0, err
	}
	done := 0
	for i, err := range errs {
		switch {
		case err == nil:
			done++
		case im.KindOf(err).Transient():
			r.leave(pending[i], err)
		default:
			aside[pending[i].ID] = err
		}
	}
	if done > 0 {
		r.metrics.relayed.Add(float64(done))
		r.log.InfoContext(ctx, "published notices that were left", "notices", done)
	}
	for id, why := range aside {
		r.log.ErrorContext(ctx, "a notice cannot be published and is set aside", "notice", id, "err", why)
		r.metrics.aside.Inc()
		if err := r.store.SetAside(ctx, id, why); err != nil {
			return 0, err
		}
	}
	return len(waiting) + len(broken), nil
}
