package away

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	batch      = 100             // notifications that are taken at a time
	lease      = 2 * time.Minute // for which they are left to who took them
	finishTime = 5 * time.Second // for noting what became of them, whoever gave up meanwhile
	lookTime   = 5 * time.Second // after which it is tried again to find out what there is to tell

	// A host that did not answer so many times in a row is left alone for ten
	// seconds, then for twice as long, and so on: one that is down or hangs takes
	// no time from the others, whoever named it.
	holdOffAfter = 3
	holdOff      = 10 * time.Second
	maxHoldOff   = 5 * time.Minute

	// A subscription of which so many attempts in a row failed, for so long, is
	// removed. A key that was set wrong is noticed before.
	maxFailures = 20
	failingFor  = 3 * 24 * time.Hour
)

// backoff is how long a notification waits after attempts that failed.
var backoff = retry.Backoff{First: 30 * time.Second, Limit: time.Hour}

func newCircuit() *retry.Circuit {
	return retry.NewCircuit(holdOffAfter, retry.Backoff{First: holdOff, Limit: maxHoldOff})
}

// What became of a notification, as it is counted.
const (
	sent    = "sent"
	expired = "expired" // nothing took it in time
	ended   = "ended"   // the session has
	muted   = "muted"   // the conversation was, meanwhile
	online  = "online"  // the device has come back
	read    = "read"    // there is nothing unread any more
	noWay   = "no_way"  // the device has unsubscribed
	gone    = "gone"    // the push service knows the subscription no more, nor do we
	refused = "refused" // the push service will never take it
	failed  = "failed"  // tried again later
	putOff  = "put_off" // left for later without a try: its host does not answer, or this process stops
)

type queue interface {
	// TakeNotifications returns notifications that are due, and leaves them to
	// the caller for a while.
	TakeNotifications(ctx context.Context, limit int, lease time.Duration) ([]im.Notification, error)
	// SentNotifications notes that they were sent, DropNotifications that they
	// are not to be, PostponeNotifications that each is to be after its Wait:
	// all of those that are left to the caller still.
	SentNotifications(ctx context.Context, taken []im.Notification, at im.NotifyTiming) error
	DropNotifications(ctx context.Context, taken []im.Notification, at im.NotifyTiming) error
	PostponeNotifications(ctx context.Context, taken []im.Notification) error
}

type subscribed interface {
	RemoveSubscription(ctx context.Context, session, endpoint string) error
	// SubscriptionsAnswered and SubscriptionsFailed note how push services fare;
	// the latter removes those of which most attempts in a row failed, for so
	// long.
	SubscriptionsAnswered(ctx context.Context, sessions []string) error
	SubscriptionsFailed(ctx context.Context, sessions []string, most int, after time.Duration) (removed int, err error)
}

// A note is a notification that is being sent, and what became of it.
type note struct {
	im.Notification
	unread  int
	payload []byte // of Web Push
	outcome string
}

// sender sends what is due.
type sender struct {
	queue  queue
	subs   subscribed
	conns  conns
	unread *reader
	ways   *ways
	at     im.NotifyTiming

	parallel int
	circuit  *retry.Circuit
	metrics  *metrics
	log      *slog.Logger
}

// run sends what is due, until nothing is or half of the time that ctx leaves
// it is over. Any number of processes may do so at once, and be killed at any
// step: what one was about to send, another does when its lease has ended.
func (s *sender) run(ctx context.Context) error {
	deadline, bounded := ctx.Deadline()
	enough := time.Now().Add(time.Until(deadline) / 2)
	for ctx.Err() == nil && !(bounded && time.Now().After(enough)) {
		n, err := s.batch(ctx)
		if err != nil || n < batch {
			return err
		}
	}
	return ctx.Err()
}

// batch sends some of what is due, and returns how many there were.
func (s *sender) batch(ctx context.Context) (int, error) {
	taken, err := s.queue.TakeNotifications(ctx, batch, lease)
	if err != nil || len(taken) == 0 {
		return 0, err
	}
	notes := make([]*note, len(taken))
	for i, n := range taken {
		notes[i] = &note{Notification: n}
	}
	err = s.look(ctx, notes)
	if err != nil {
		for _, n := range notes {
			if n.outcome == "" {
				n.leave(lookTime)
			}
		}
		err = fmt.Errorf("looking what there is to tell: %w", err)
	} else {
		s.send(ctx, notes)
	}
	return len(taken), cmp.Or(s.finish(ctx, notes), err)
}

// leave leaves a note for later without a try.
func (n *note) leave(wait time.Duration) {
	n.outcome, n.Wait = putOff, wait
	n.Attempt--
}

// open returns those of notes of which nothing has become yet.
func open(notes []*note) []*note {
	return slices.DeleteFunc(slices.Clone(notes), func(n *note) bool { return n.outcome != "" })
}

// look finds out which notes are not to be sent any more, and what the others
// say.
func (s *sender) look(ctx context.Context, notes []*note) error {
	now := im.Now()
	for _, n := range notes {
		switch {
		case n.Ended:
			n.outcome = ended
		case n.Expires <= now:
			n.outcome = expired
		case n.Muted:
			n.outcome = muted
		case !s.ways.reach(n):
			n.outcome = noWay
		}
	}
	away, err := offline(ctx, s.conns, open(notes), func(n *note) (string, string) { return n.User, n.Session })
	if err != nil {
		return err
	}
	for _, n := range open(notes) {
		if !slices.Contains(away, n) {
			n.outcome = online
		}
	}
	if err := s.unread.count(ctx, away); err != nil {
		return err
	}
	for _, n := range away {
		if n.unread == 0 {
			n.outcome = read
		}
	}
	return s.unread.write(ctx, slices.DeleteFunc(open(notes), func(n *note) bool { return !s.ways.subscribed(n) }))
}

// send sends notes, each device's one after another, many devices' at a time.
func (s *sender) send(ctx context.Context, notes []*note) {
	var hooked []*note
	bySession := make(map[string][]*note)
	for _, n := range open(notes) {
		if s.ways.subscribed(n) {
			bySession[n.Session] = append(bySession[n.Session], n)
		} else {
			hooked = append(hooked, n)
		}
	}
	var sending sync.WaitGroup
	if len(hooked) > 0 {
		sending.Go(func() {
			s.try(ctx, s.ways.host, hooked, func() error { return s.ways.hook(ctx, hooked) })
		})
	}
	var group errgroup.Group
	group.SetLimit(s.parallel)
	for _, of := range bySession {
		group.Go(func() error {
			s.pushAll(ctx, of)
			return nil
		})
	}
	group.Wait()
	sending.Wait()
}

// pushAll sends notes to one device, until one is not taken: the others share
// its lot.
func (s *sender) pushAll(ctx context.Context, notes []*note) {
	host := hostOf(notes[0].Push.Endpoint)
	for i, n := range notes {
		s.try(ctx, host, notes[i:i+1], func() error { return s.ways.push(ctx, n) })
		switch n.outcome {
		case gone:
			for _, rest := range notes[i+1:] {
				rest.outcome = gone
			}
			return
		case failed, putOff:
			for _, rest := range notes[i+1:] {
				rest.leave(n.Wait)
			}
			return
		}
	}
}

// try does f, which sends notes to a host, unless the host is to be left alone,
// and says what became of them.
func (s *sender) try(ctx context.Context, host string, notes []*note, f func() error) {
	outcome, wait := sent, time.Duration(0)
	if w := s.circuit.Wait(host); w > 0 {
		outcome, wait = putOff, retry.Jitter(w+time.Second)
	} else if err := proc.Protect(f); err == nil {
		s.circuit.Succeed(host)
	} else {
		outcome, wait = s.failure(ctx, host, notes[0], err)
	}
	for _, n := range notes {
		switch outcome {
		case putOff:
			n.leave(wait)
		case failed:
			n.outcome, n.Wait = failed, max(wait, backoff.Equal(n.Attempt))
		default:
			n.outcome = outcome
		}
	}
}

// failure says what becomes of notes that could not be sent.
func (s *sender) failure(ctx context.Context, host string, n *note, err error) (outcome string, wait time.Duration) {
	if ctx.Err() != nil { // it is not the host's fault
		return putOff, 0
	}
	p := problemOf(err)
	if p.unanswered {
		s.circuit.Fail(host)
	} else {
		s.circuit.Succeed(host)
	}
	level := slog.LevelWarn
	if p.gone {
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "a notification was not sent", "user", n.User, "session", n.Session, "attempt", n.Attempt, "err", err)
	switch {
	case p.gone:
		return gone, 0
	case p.never:
		return refused, 0
	}
	return failed, p.after
}

// finish notes what became of notes, even if ctx is done: what is noted is not
// sent twice.
func (s *sender) finish(ctx context.Context, notes []*note) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	var done, dropped, later []im.Notification
	var answered, failing []string
	now := time.Now()
	for _, n := range notes {
		how := ""
		if s.ways.subscribed(n) {
			how = "web_push"
		} else if !n.Ended {
			how = "webhook"
		}
		s.metrics.outcomes.WithLabelValues(how, n.outcome).Inc()
		switch n.outcome {
		case sent:
			done = append(done, n.Notification)
			if at, ok := im.TimeOfMessageID(n.Message); ok {
				s.metrics.delay.Observe(max(0, now.Sub(at.Std()).Seconds()))
			}
			if n.Push != nil && n.Push.Failures > 0 {
				answered = append(answered, n.Session)
			}
		case failed, putOff:
			later = append(later, n.Notification)
		default:
			dropped = append(dropped, n.Notification)
		}
		if s.ways.subscribed(n) && (n.outcome == failed || n.outcome == refused) {
			failing = append(failing, n.Session)
		}
	}
	var errs []error
	each := func(n int, f func() error) {
		if n > 0 {
			errs = append(errs, f())
		}
	}
	each(len(done), func() error { return s.queue.SentNotifications(ctx, done, s.at) })
	each(len(dropped), func() error { return s.queue.DropNotifications(ctx, dropped, s.at) })
	each(len(later), func() error { return s.queue.PostponeNotifications(ctx, later) })
	for _, n := range notes {
		if n.outcome == gone && n.Push != nil {
			each(1, func() error { return s.subs.RemoveSubscription(ctx, n.Session, n.Push.Endpoint) })
		}
	}
	each(len(answered), func() error { return s.subs.SubscriptionsAnswered(ctx, answered) })
	each(len(failing), func() error {
		removed, err := s.subs.SubscriptionsFailed(ctx, failing, maxFailures, failingFor)
		if removed > 0 {
			s.log.WarnContext(ctx, "removed subscriptions whose push services did not answer for days", "subscriptions", removed)
		}
		return err
	})
	return cmp.Or(errs...)
}
