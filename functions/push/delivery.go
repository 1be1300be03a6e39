package push

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

const (
	source = "/functions/push"

	maxEvents  = 500     // in one request to a gateway
	maxBytes   = 1 << 20 // of one request to a gateway, about
	perEvent   = 512     // bytes of an event beside its data, about
	maxPosting = 16      // gateways that are posted to at once for one batch
	attempts   = 2
	retryAfter = 50 * time.Millisecond

	// A gateway that does not answer is left alone for a second, then for twice
	// as long, and so on: one that is frozen does not hold up what is for others,
	// batch after batch.
	holdOff    = time.Second
	maxHoldOff = 30 * time.Second
)

// What became of a push, as it is counted.
const (
	done        = "done"
	noPresence  = "no_presence"  // Redis does not say who is connected
	noRegistry  = "no_registry"  // Redis does not say where the gateways are
	gone        = "gone"         // the gateway is not in the registry any more
	unanswered  = "unanswered"   // the gateway does not answer
	circuitOpen = "circuit_open" // the gateway did not answer a moment ago
	refused     = "refused"      // the gateway will not have it
)

type conns interface {
	// Lookup returns the connections of those users that have any.
	Lookup(ctx context.Context, users []string) (map[string][]im.Conn, error)
}

type gateways interface {
	// URLs returns the internal URLs of those gateways that there are.
	URLs(ctx context.Context, ids []string) (map[string]string, error)
}

// delivery posts what is to be written to users to the gateways that hold
// their connections, and to no other.
type delivery struct {
	conns    conns
	gateways gateways
	post     func(ctx context.Context, url string, events []event.Event) ([]fn.Result, error)
	seal     *event.Keyring
	log      *slog.Logger
	pushed   *prometheus.CounterVec
	circuit  *retry.Circuit
}

// deliver posts pushes, and returns when every gateway has answered or has
// been given up: two deliveries one after another keep their order. Each
// gateway gets what is for it in the order of pushes.
func (d *delivery) deliver(ctx context.Context, pushes []push) {
	held, err := d.lookup(ctx, pushes)
	if err != nil {
		d.drop(ctx, len(pushes), noPresence, "", err)
		return
	}
	queues := d.sort(pushes, held)
	if len(queues) == 0 {
		return
	}
	urls, err := twice(ctx, func() (map[string]string, error) {
		return d.gateways.URLs(ctx, slices.Collect(maps.Keys(queues)))
	})
	if err != nil {
		d.drop(ctx, len(pushes), noRegistry, "", err)
		return
	}
	var posting errgroup.Group
	posting.SetLimit(maxPosting)
	for gateway, events := range queues {
		url, ok := urls[gateway]
		if !ok {
			d.drop(ctx, len(events), gone, gateway, nil)
			continue
		}
		posting.Go(func() error {
			d.postAll(ctx, gateway, url, events)
			return nil
		})
	}
	posting.Wait()
}

// lookup returns the gateways that hold connections of the recipients, by user.
func (d *delivery) lookup(ctx context.Context, pushes []push) (map[string][]string, error) {
	users := make(map[string]bool)
	for _, p := range pushes {
		for _, r := range p.to {
			users[r.User] = true
		}
	}
	if len(users) == 0 {
		return nil, nil
	}
	conns, err := twice(ctx, func() (map[string][]im.Conn, error) {
		return d.conns.Lookup(ctx, slices.Collect(maps.Keys(users)))
	})
	if err != nil {
		return nil, err
	}
	held := make(map[string][]string, len(conns))
	for user, cs := range conns {
		for _, c := range cs {
			if !slices.Contains(held[user], c.Gateway) {
				held[user] = append(held[user], c.Gateway)
			}
		}
	}
	return held, nil
}

// sort makes the events that each gateway is to get, in the order of pushes.
func (d *delivery) sort(pushes []push, held map[string][]string) map[string][]event.Event {
	queues := make(map[string][]event.Event)
	for i := range pushes {
		p := &pushes[i]
		to := make(map[string][]event.Recipient)
		for _, r := range p.to {
			for _, gateway := range held[r.User] {
				to[gateway] = append(to[gateway], r)
			}
		}
		for gateway, recipients := range to {
			e := event.Event{
				ID:           p.id + "@" + gateway,
				Type:         event.Push,
				Source:       source,
				Subject:      p.subject,
				Time:         im.Now(),
				PartitionKey: p.subject,
				TraceParent:  p.traceParent,
				Data:         p.data(recipients),
			}
			d.seal.Sign(&e)
			queues[gateway] = append(queues[gateway], e)
		}
	}
	return queues
}

// postAll posts events to a gateway in as many requests as it takes, one after
// another, until one is given up: what comes after it would only leave a hole.
func (d *delivery) postAll(ctx context.Context, gateway, url string, events []event.Event) {
	for len(events) > 0 {
		n := chunk(events)
		if d.circuit.Wait(gateway) > 0 {
			d.drop(ctx, len(events), circuitOpen, gateway, nil)
			return
		}
		if !d.postChunk(ctx, gateway, url, events[:n]) {
			d.circuit.Fail(gateway)
			d.drop(ctx, len(events)-n, unanswered, gateway, nil)
			return
		}
		d.circuit.Succeed(gateway)
		events = events[n:]
	}
}

// chunk returns how many of events go into one request.
func chunk(events []event.Event) int {
	size := 0
	for i := range min(len(events), maxEvents) {
		size += len(events[i].Data) + perEvent
		if size > maxBytes && i > 0 {
			return i
		}
	}
	return min(len(events), maxEvents)
}

// postChunk posts one request, and once more what failed for a while. It
// reports whether the gateway answers.
func (d *delivery) postChunk(ctx context.Context, gateway, url string, events []event.Event) bool {
	for attempt := 1; ; attempt++ {
		results, err := d.post(ctx, url+"/push", events)
		var again []event.Event
		var last error
		for i, r := range results {
			switch e := r.Err(); {
			case e == nil:
				d.pushed.WithLabelValues(done).Inc()
			case im.KindOf(e).Transient():
				again, last = append(again, events[i]), e
			default:
				d.drop(ctx, 1, refused, gateway, e)
			}
		}
		if err != nil {
			again, last = events, err
		}
		if len(again) == 0 {
			return true
		}
		if attempt == attempts || retry.Sleep(ctx, retryAfter) != nil {
			d.drop(ctx, len(again), unanswered, gateway, last)
			return false
		}
		events = again
	}
}

func newCircuit() *retry.Circuit {
	return retry.NewCircuit(1, retry.Backoff{First: holdOff, Limit: maxHoldOff})
}

// drop counts pushes that are given up.
func (d *delivery) drop(ctx context.Context, n int, outcome, gateway string, err error) {
	d.pushed.WithLabelValues(outcome).Add(float64(n))
	if err != nil { // else it has been said, or is of no interest
		d.log.WarnContext(ctx, "dropped pushes", "reason", outcome, "gateway", gateway, "pushes", n, "err", err)
	}
}

// twice calls f again once if it fails.
func twice[T any](ctx context.Context, f func() (T, error)) (T, error) {
	v, err := f()
	if err != nil && retry.Sleep(ctx, retryAfter) == nil {
		v, err = f()
	}
	return v, err
}
