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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres"
)

const (
	source = "/shared/outbox"

	publishTime = 2 * time.Second // that who made a change spends on publishing it
	relayAge    = 5 * time.Second // older notices are the relay's: their makers have given up
	relayBatch  = 200
)

type changer interface {
	// Change runs f in a transaction and, before it is committed, prepare.
	Change(ctx context.Context, f func(context.Context, *postgres.Tx) error,
		prepare func(context.Context, []im.Stale, []im.Notice) ([]im.Pending, error)) ([]im.Stale, []im.Pending, error)
	// Pending returns notices that wait to be published, the oldest first.
	Pending(ctx context.Context, age time.Duration, limit int) ([]im.Pending, error)
	// Published takes notices out of the outbox.
	Published(ctx context.Context, ids []string) error
}

type places interface {
	// Place gives each message its place, or the one that it had before.
	Place(context.Context, []im.PlaceRequest) []im.PlaceResult
}

type caches interface {
	// Withdraw makes sure that nothing older is taken from a cache.
	Withdraw(context.Context, []im.Stale) error
}

type log interface {
	// PublishEach returns an error for each event, in order, nil where it is durable.
	PublishEach(ctx context.Context, topic string, events []event.Event) []error
}

// An Outbox makes changes and publishes their notices.
type Outbox struct {
	db     changer
	places places
	caches caches
	log    log
	seal   func(*event.Event)
	slog   *slog.Logger
}

// Change runs f in a transaction, and publishes the notices that it leaves.
// When it returns nil the change is made, and its notices have been published
// or will be; when it returns an error, nothing was changed.
func (o *Outbox) Change(ctx context.Context, f func(context.Context, *postgres.Tx) error) error {
	stale, pending, err := o.db.Change(ctx, f, o.prepare)
	if err != nil {
		return err
	}
	// The change is made, whatever becomes of the request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
	defer cancel()
	if len(stale) > 0 {
		if err := o.caches.Withdraw(ctx, stale); err != nil {
			o.slog.WarnContext(ctx, "a cache was told of a change before it only", "err", err)
		}
	}
	if err := o.publish(ctx, pending); err != nil {
		o.slog.WarnContext(ctx, "notices are left to outbox-relay", "notices", len(pending), "err", err)
	}
	return nil
}

// prepare withdraws what is stale, so that no message is delivered by it once
// the change is committed, and gives notices their places.
func (o *Outbox) prepare(ctx context.Context, stale []im.Stale, notices []im.Notice) ([]im.Pending, error) {
	if len(stale) > 0 {
		if err := o.caches.Withdraw(ctx, stale); err != nil {
			return nil, err
		}
	}
	if len(notices) == 0 {
		return nil, nil
	}
	pending, reqs := make([]im.Pending, len(notices)), make([]im.PlaceRequest, len(notices))
	for i, n := range notices {
		pending[i] = im.Pending{ID: "notice-" + im.NewID(), Notice: n}
		reqs[i] = im.PlaceRequest{Conversation: n.Conversation, From: n.From, ClientID: pending[i].ID}
	}
	for i, r := range o.places.Place(ctx, reqs) {
		if r.Err != nil {
			return nil, r.Err
		}
		pending[i].Place = r.Place
	}
	return pending, nil
}

// publish publishes notices and takes out of the outbox what is durable.
func (o *Outbox) publish(ctx context.Context, pending []im.Pending) error {
	if len(pending) == 0 {
		return nil
	}
	events := make([]event.Event, len(pending))
	for i, p := range pending {
		var err error
		if events[i], err = o.accepted(p); err != nil {
			return err
		}
	}
	var done []string
	failed := o.log.PublishEach(ctx, event.TopicMessages, events)
	for i, err := range failed {
		if err == nil {
			done = append(done, pending[i].ID)
		}
	}
	if len(done) > 0 {
		failed = append(failed, o.db.Published(ctx, done))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("publishing %d notices: %w", len(pending), err)
	}
	return nil
}

// accepted returns the event of a notice. It is the same each time.
func (o *Outbox) accepted(p im.Pending) (event.Event, error) {
	m := p.Message(p.ID, p.Place)
	to := p.To
	if to == nil {
		to = m.Recipients()
	}
	e, err := event.New(event.MessageAccepted, source, string(m.Conversation),
		event.Accepted{Message: m, Recipients: to, Quiet: p.Quiet, Amended: p.Amended})
	if err != nil {
		return e, err
	}
	e.ID, e.Time = m.ID, m.Time
	o.seal(&e)
	return e, nil
}

// Relay publishes what those who made changes have left, until there is none
// or ctx is done.
func (o *Outbox) Relay(ctx context.Context) error {
	for {
		pending, err := o.db.Pending(ctx, relayAge, relayBatch)
		if err != nil {
			return err
		}
		if len(pending) == 0 {
			return nil
		}
		if err := o.publish(ctx, pending); err != nil {
			return err
		}
		o.slog.InfoContext(ctx, "published notices that were left", "notices", len(pending))
	}
}
