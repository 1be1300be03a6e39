// Package outbox makes changes that others are told of. A change and its
// notices are one transaction of PostgreSQL; what caches hold of the state
// before it is withdrawn before it is committed, and again after; the notices
// are published after that, as messages, by whoever made the change or, if that
// is cut off, by outbox-relay (the transactional outbox:
// https://microservices.io/patterns/data/transactional-outbox.html).
//
// A notice has its place in its conversation before it is committed, so that
// it is one message however often it is published, and notices of changes that
// wait for each other's rows stand in the order of the changes.
//
// It does not know what is changed, nor who may.
package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
	"github.com/tidings-im/tidings/shared/postgres/notices"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	source = "/shared/outbox"

	withdrawPause = 50 * time.Millisecond
	publishTime   = 2 * time.Second // that it may take to publish notices, and to take them out
	maxNotice     = 768 << 10       // bytes of its event: Kafka and inboxes take more
	maxRecipients = im.MaxGroup + 100
)

type store interface {
	// Change runs f in a transaction and, before it is committed, prepare.
	Change(ctx context.Context, f func(context.Context, *postgres.Tx) error,
		prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error)) ([]im.Stale, []im.Pending, error)
	// Pending returns notices that wait to be published, the earliest first,
	// those after one of them, and why others cannot be read, by id.
	Pending(ctx context.Context, age time.Duration, after im.Pending, limit int) ([]im.Pending, map[string]error, error)
	// Published takes notices out of the outbox.
	Published(ctx context.Context, ids []string) error
	// SetAside keeps a notice from being pending.
	SetAside(ctx context.Context, id string, why error) error
}

type places interface {
	// Place gives each message its place, or the one that it had before.
	Place(context.Context, []im.PlaceRequest) []im.PlaceResult
}

type caches interface {
	// Withdraw makes sure that nothing older is taken from a cache.
	Withdraw(context.Context, []im.Stale) error
}

type budget interface {
	// Charge takes from the budgets of users what they are about to cost, and
	// returns an error for each. Overloaded: there is not as much left.
	Charge(context.Context, []im.Charge) []error
}

type publisher interface {
	// PublishEach returns an error for each event, in order, nil where it is durable.
	PublishEach(ctx context.Context, topic string, events []event.Event) []error
}

// An Outbox makes changes and publishes their notices. It is safe for
// concurrent use, by any number of processes.
type Outbox struct {
	store   store
	places  places
	caches  caches
	budget  budget
	to      publisher
	seal    func(*event.Event)
	log     *slog.Logger
	metrics *metrics
}

// Change runs f in a transaction, and publishes the notices that it leaves.
// When it returns nil the change is made, and its notices have been published
// or will be. When it returns an error nothing was changed, unless it is
// Unavailable: then it may not be known. A change is such that making it again
// does no harm. Overloaded: who makes it has made too many that large groups
// are told of, or the group has been told too much.
func (o *Outbox) Change(ctx context.Context, f func(context.Context, *postgres.Tx) error) error {
	var events []event.Event
	var members map[im.Conversation]int
	charged := func(ctx context.Context, tx *postgres.Tx) error {
		err := f(ctx, tx)
		if err == nil {
			members, err = o.charge(ctx, tx)
		}
		return err
	}
	stale, pending, err := o.store.Change(ctx, charged, func(ctx context.Context, stale []im.Stale, notices []im.Notice) (pending []im.Pending, err error) {
		// Before the commit, so that nothing is delivered by it afterwards.
		if err := o.withdraw(ctx, stale); err != nil {
			return nil, err
		}
		if pending, err = o.place(ctx, notices, members); err != nil {
			return nil, err
		}
		events, err = o.accepted(pending)
		return pending, err
	})
	if err != nil {
		return err
	}
	// The change is made, whatever becomes of the request.
	ctx = context.WithoutCancel(ctx)
	again, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if err := o.withdrawAgain(again, stale); err != nil {
		o.log.WarnContext(ctx, "a cache was told of a change before it only", "err", err)
	}
	errs, err := o.publish(ctx, pending, events)
	failed := 0
	for _, e := range errs { // thousands, if somebody is deleted while Kafka is down: one says it
		if e != nil {
			failed++
			err = cmp.Or(err, e)
		}
	}
	if err != nil {
		o.log.WarnContext(ctx, "notices are left to outbox-relay", "notices", len(pending), "failed", failed, "err", err)
	}
	return nil
}

// withdraw makes caches forget what is stale. That they do so before the
// change keeps what is older out of them for a while, and that they do so again
// makes that while begin when the change is made.
func (o *Outbox) withdraw(ctx context.Context, stale []im.Stale) error {
	if len(stale) == 0 {
		return nil
	}
	return o.caches.Withdraw(ctx, stale)
}

// withdrawAgain withdraws once a change is made, for as long as there is time: a
// Redis that has lost its memory since it was told before may have filled up
// again, with what was the case until then.
func (o *Outbox) withdrawAgain(ctx context.Context, stale []im.Stale) error {
	for {
		err := o.withdraw(ctx, stale)
		if err == nil || retry.Sleep(ctx, withdrawPause) != nil {
			return err
		}
	}
}

// charge has those who make a change pay for the notices to groups, by their
// recipients, and returns how many members these groups have.
func (o *Outbox) charge(ctx context.Context, tx *postgres.Tx) (map[im.Conversation]int, error) {
	if o.budget == nil {
		return nil, nil
	}
	notices, members, err := notices.Recipients(ctx, tx)
	if err != nil || members == nil {
		return nil, err
	}
	var charges []im.Charge
	for _, n := range notices {
		if cost := costOf(n, members); cost > 1 {
			charges = append(charges, im.Charge{User: n.From, Recipients: cost})
		}
	}
	if len(charges) == 0 {
		return members, nil
	}
	return members, errors.Join(o.budget.Charge(ctx, charges)...)
}

// costOf returns the recipients of a notice to a group, 0 of any other.
func costOf(n im.Notice, members map[im.Conversation]int) int {
	if n.To == nil || n.Conversation.Group() == "" {
		return members[n.Conversation]
	}
	return len(n.To)
}

// place gives notices their places. What is done to messages costs their
// groups, as messages do; what is done to a group does not, so that no flood
// keeps its owner and admins from ending it.
func (o *Outbox) place(ctx context.Context, notices []im.Notice, members map[im.Conversation]int) ([]im.Pending, error) {
	pending, reqs := make([]im.Pending, len(notices)), make([]im.PlaceRequest, len(notices))
	for i, n := range notices {
		if n.To != nil { // its maker among them: so an empty list never reads as none
			n.To = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(n.To), n.From))))
		}
		pending[i] = im.Pending{ID: "notice-" + im.NewID(), Notice: n}
		reqs[i] = im.PlaceRequest{Conversation: n.Conversation, From: n.From, ClientID: pending[i].ID}
		if strings.HasPrefix(n.Type, "message.") && members != nil {
			reqs[i].Recipients = costOf(n, members)
		}
	}
	for i, r := range o.places.Place(ctx, reqs) {
		if r.Err != nil {
			return nil, r.Err
		}
		pending[i].Place = r.Place
	}
	return pending, nil
}

// accepted returns the events of notices.
func (o *Outbox) accepted(pending []im.Pending) ([]event.Event, error) {
	events := make([]event.Event, len(pending))
	for i, p := range pending {
		var err error
		if events[i], err = o.event(p); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// event returns the event of a notice, the same each time, or why there can be
// none.
func (o *Outbox) event(p im.Pending) (event.Event, error) {
	m := p.Message(p.ID, p.Place)
	to := p.To
	if to == nil {
		to = m.Recipients()
	}
	e, err := event.New(event.MessageAccepted, source, string(m.Conversation),
		event.Accepted{Message: m, Recipients: to, Quiet: p.Quiet, Amended: p.Amended, Former: p.Former})
	switch {
	case err != nil:
		return e, im.Wrap(im.Internal, err, "the notice cannot be written")
	case len(e.Data) > maxNotice || len(to) > maxRecipients:
		return e, im.Errorf(im.TooLarge, "a notice of %d bytes to %d users is too large", len(e.Data), len(to))
	}
	e.ID, e.Time = m.ID, m.Time
	o.seal(&e)
	return e, nil
}

// publish publishes the events of notices, takes those that are durable out of
// the outbox, and returns why each of the others is not.
func (o *Outbox) publish(ctx context.Context, pending []im.Pending, events []event.Event) ([]error, error) {
	if len(pending) == 0 {
		return nil, nil
	}
	within, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	errs := o.to.PublishEach(within, event.TopicMessages, events)
	var done []string
	for i, err := range errs {
		if err == nil {
			done = append(done, pending[i].ID)
		} else {
			errs[i] = fmt.Errorf("publishing notice %s: %w", pending[i].ID, err)
		}
	}
	if len(done) == 0 {
		return errs, nil
	}
	ctx, cancelDone := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
	defer cancelDone()
	return errs, o.store.Published(ctx, done)
}
