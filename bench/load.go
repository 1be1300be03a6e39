package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/retry"
)

// A load is one way of keeping a system busy.
type load struct {
	name     string
	duration time.Duration // that is measured
	warmUp   time.Duration // before
	patience time.Duration // with inboxes that lack something afterwards

	senders   []sendTo
	others    []*user // who receive and do not send
	window    int     // messages of each sender on their way at once; 0 is paced
	delivered bool    // a message is on its way until it was pushed to its sender, not only until it was accepted
	rate      float64 // messages per second of all senders together, if paced
	textBytes int
}

// sendTo is somebody who sends, and where to.
type sendTo struct {
	user *user
	to   string
	hear []*user // whose inboxes the messages come into, the sender's aside
}

// A result is what a load measured.
type result struct {
	load         *load
	seconds      float64
	accepted     int64 // while it was measured
	delivered    int64 // to others than the sender
	fanOut       int   // deliveries per message
	ack, deliver histogram
	missed       int64 // pushes that did not come
	repeated     int64
	late         float64                  // share of inbox entries that came after a later message of their conversation
	cpu          map[string]time.Duration // by process
}

// The phases of a load.
const (
	warming int32 = iota
	measuring
	draining
)

// running is a load under way.
type running struct {
	*load
	run   string // prefix of all ids
	began time.Time
	phase atomic.Int32
	from  atomic.Int64 // beginning of what is measured, ns since began
	to    atomic.Int64 // end of it; 0 while it goes on
	found *findings

	places  places
	entries atomic.Int64 // of all inboxes
	late    atomic.Int64 // of them, see inboxCheck

	actors   []*actor
	byUser   map[*user]*actor
	failOnce sync.Once
	failed   chan struct{}
	err      error
}

// An actor is a peer in a load. What follows mu is the reader's own otherwise.
type actor struct {
	*peer
	r      *running
	sender int    // or -1
	frame  []byte // of the next message, in part
	prefix []byte

	mu      sync.Mutex // of what sending needs, since a pacer is another goroutine
	ledger  ledger
	waiting int64 // sent and neither accepted nor refused

	check        *pushCheck
	accepted     int64
	delivered    int64
	pushes       atomic.Int64
	ack, deliver histogram
}

// do runs a load and checks what came of it.
func (l *load) do(ctx context.Context, url string, api *client.API, use *usage, found *findings) (*result, error) {
	r := &running{load: l, run: im.NewID()[:8], found: found, byUser: make(map[*user]*actor), failed: make(chan struct{})}
	if err := r.connect(ctx, url); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	hangUp := func() {
		for _, a := range r.actors {
			a.close()
		}
		readers.Wait()
	}
	r.began = time.Now()
	for _, a := range r.actors {
		readers.Go(func() {
			a.listen(a.handle)
			if a.err != nil {
				r.fail(a.err)
			}
		})
	}
	stopPacing := r.start()
	cpu, err := r.measure(ctx, use)
	stopPacing()
	if err == nil {
		err = r.drain(ctx)
	}
	hangUp()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	if err := r.compare(ctx, api); err != nil {
		return nil, fmt.Errorf("%s: comparing inboxes: %w", l.name, err)
	}
	return r.result(cpu), nil
}

func (r *running) connect(ctx context.Context, url string) error {
	var users []*user
	seen := make(map[*user]bool)
	add := func(u *user) {
		if !seen[u] {
			seen[u] = true
			users = append(users, u)
		}
	}
	for _, s := range r.senders {
		add(s.user)
	}
	for _, s := range r.senders {
		for _, u := range s.hear {
			add(u)
		}
	}
	for _, u := range r.others {
		add(u)
	}
	peers, err := connectAll(ctx, url, users)
	if err != nil {
		return err
	}
	for i, p := range peers {
		a := &actor{peer: p, r: r, sender: -1, check: newPushCheck(p.user.Account, p.head, r.found)}
		if i < len(r.senders) {
			a.sender = i
			a.prefix = frameHead(r.senders[i].to, r.textBytes)
		}
		r.actors = append(r.actors, a)
		r.byUser[p.user] = a
	}
	return nil
}

// frameHead returns a send frame up to its id, which comes last.
func frameHead(to string, textBytes int) []byte {
	f, err := json.Marshal(struct {
		Type string `json:"type"`
		To   string `json:"to"`
		Text string `json:"text"`
	}{frame.Send, to, strings.Repeat("tidings ", textBytes/8+1)[:textBytes]})
	if err != nil {
		panic(err) // strings can always be written
	}
	return append(f[:len(f)-1], `,"id":"`...)
}

// start sets the senders going. What it returns stops a pacer.
func (r *running) start() (stop func()) {
	if r.rate == 0 {
		for _, a := range r.actors[:len(r.senders)] {
			a.mu.Lock()
			for range r.window {
				a.send(time.Since(r.began))
			}
			a.mu.Unlock()
			a.conn.flush()
		}
		return func() {}
	}
	done := make(chan struct{})
	var pacer sync.WaitGroup
	pacer.Go(func() {
		every := time.Duration(float64(time.Second) / r.rate)
		for k := 0; ; k++ {
			due := time.Duration(k) * every
			select {
			case <-time.After(due - time.Since(r.began)):
			case <-done:
				return
			}
			a := r.actors[k%len(r.senders)]
			a.mu.Lock()
			a.send(due) // late if it must, and counted from when it was due
			a.mu.Unlock()
			a.conn.flush()
		}
	})
	return func() { close(done); pacer.Wait() }
}

// send sends the next message. a.mu is held. An error shows when reading.
func (a *actor) send(due time.Duration) {
	b := append(a.frame[:0], a.prefix...)
	b = stamp{a.sender, a.ledger.sent, due}.appendID(b, a.r.run)
	b = append(b, `"}`...)
	a.frame = b
	a.ledger.sent++
	a.waiting++
	a.ws.WriteMessage(websocket.TextMessage, b)
}

// handle does what a frame asks.
func (a *actor) handle(in incoming) {
	r := a.r
	now := time.Since(r.began)
	switch in.kind {
	case frame.Accepted:
		s, ok := parseID(in.id, r.run)
		if !ok {
			return // of an earlier run
		}
		a.mu.Lock()
		ok = s.sender == a.sender && a.ledger.accept(s.n)
		a.waiting--
		if !r.delivered {
			a.sendOn(now)
		}
		a.mu.Unlock()
		if !ok {
			r.found.add("doubled: message %d of sender %d was accepted again, or by another connection", s.n, s.sender)
		}
		if r.phase.Load() == measuring {
			a.accepted++
		}
		if r.measured(s.due) {
			a.ack.add(now - s.due)
		}
	case frame.Message:
		s, ok := parseID(in.id, r.run)
		if !ok {
			a.check.place(in.seq)
			return
		}
		if !a.check.saw(in.seq, s) {
			return
		}
		if s.sender == a.sender { // its own, on its way to the sender's other devices
			if r.delivered {
				a.mu.Lock()
				a.sendOn(now)
				a.mu.Unlock()
			}
			return
		}
		a.pushes.Add(1)
		if r.phase.Load() == measuring {
			a.delivered++
		}
		if r.measured(s.due) {
			a.deliver.add(now - s.due)
		}
	case frame.Refused:
		hint := ""
		if in.rest.Kind == im.Overloaded {
			hint = " (raise SEND_RATE and SEND_BURST of the gateway for a benchmark)"
		}
		r.fail(fmt.Errorf("a message was refused: %s: %s%s", in.rest.Kind, in.rest.Detail, hint))
	case frame.Error:
		r.fail(fmt.Errorf("the server did not understand: %s", in.rest.Detail))
	}
}

// sendOn keeps the window full.
func (a *actor) sendOn(now time.Duration) {
	if a.r.rate == 0 && a.sender >= 0 && a.r.phase.Load() != draining {
		a.send(now)
	}
}

// measured reports whether a message that was due at some time counts.
func (r *running) measured(due time.Duration) bool {
	from, to := r.from.Load(), r.to.Load()
	return from > 0 && int64(due) >= from && (to == 0 || int64(due) < to)
}

// measure lets the load warm up and then takes its time.
func (r *running) measure(ctx context.Context, use *usage) (map[string]time.Duration, error) {
	if err := r.wait(ctx, r.warmUp); err != nil {
		return nil, err
	}
	before := use.read()
	r.from.Store(int64(time.Since(r.began)))
	r.phase.Store(measuring)
	err := r.wait(ctx, r.duration)
	r.phase.Store(draining)
	r.to.Store(int64(time.Since(r.began)))
	return use.since(before), err
}

func (r *running) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.failed:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *running) fail(err error) {
	r.failOnce.Do(func() { r.err = err; close(r.failed) })
}

// drain waits until all that was sent has been answered, and all that was
// accepted has been pushed or nothing more comes.
func (r *running) drain(ctx context.Context) error {
	const patience = 5 * time.Second
	last, since := int64(-1), time.Now()
	for {
		waiting, wanted, pushed := int64(0), int64(0), int64(0)
		for i, s := range r.senders {
			a := r.actors[i]
			a.mu.Lock()
			waiting += a.waiting
			wanted += a.ledger.count * int64(len(s.hear))
			a.mu.Unlock()
		}
		for _, a := range r.actors {
			pushed += a.pushes.Load()
		}
		if waiting == 0 && pushed >= wanted {
			return nil
		}
		if pushed != last {
			last, since = pushed, time.Now()
		}
		if time.Since(since) > patience {
			if waiting > 0 {
				return fmt.Errorf("%d messages were never answered", waiting)
			}
			return nil // the inboxes will tell
		}
		if err := r.wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// compare pulls every inbox and checks what is in it.
func (r *running) compare(ctx context.Context, api *client.API) error {
	heard := make(map[*user][]int) // whose messages come into whose inbox
	for i, s := range r.senders {
		heard[s.user] = append(heard[s.user], i)
		for _, u := range s.hear {
			heard[u] = append(heard[u], i)
		}
	}
	return each(ctx, len(r.actors), 16, func(ctx context.Context, i int) error {
		a := r.actors[i]
		c := newInboxCheck(a.user.Account, a.head, r.found, &r.places)
		defer func() {
			r.entries.Add(c.entries)
			r.late.Add(c.late)
		}()
		for deadline := time.Now().Add(r.patience); ; {
			if err := r.pull(ctx, api, a.user, c); err != nil {
				return err
			}
			missing := 0
			for _, s := range heard[a.user] {
				missing += c.missing(s, &r.actors[s].ledger)
			}
			if missing == 0 {
				return nil
			}
			if time.Now().After(deadline) {
				for _, s := range heard[a.user] {
					c.lost(s, &r.actors[s].ledger)
				}
				return nil
			}
			if err := retry.Sleep(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

// pull checks what the inbox has beyond what was checked.
func (r *running) pull(ctx context.Context, api *client.API, u *user, c *inboxCheck) error {
	for {
		var page client.InboxPage
		err := patiently(ctx, func() (err error) {
			page, err = api.Inbox(ctx, u.AccessToken, c.seq, 1000)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			var m im.Message
			if err := json.Unmarshal(e.Message, &m); err != nil {
				return fmt.Errorf("reading seq %d of %s: %w", e.Seq, u.Account, err)
			}
			s, ours := parseID([]byte(m.ClientID), r.run)
			ours = ours && s.sender < len(r.senders)
			c.saw(e.Seq, m, s, ours)
		}
		if !page.More {
			return nil
		}
		if len(page.Entries) == 0 {
			return errors.New("a page says that there is more and holds nothing")
		}
	}
}

func (r *running) result(cpu map[string]time.Duration) *result {
	res := &result{load: r.load, seconds: time.Duration(r.to.Load() - r.from.Load()).Seconds(), fanOut: len(r.senders[0].hear), cpu: cpu}
	if n := r.entries.Load(); n > 0 {
		res.late = float64(r.late.Load()) / float64(n)
	}
	for _, a := range r.actors {
		res.accepted += a.accepted
		res.delivered += a.delivered
		res.ack.merge(&a.ack)
		res.deliver.merge(&a.deliver)
		res.missed += int64(len(a.check.holes))
		res.repeated += a.check.repeated
	}
	return res
}
