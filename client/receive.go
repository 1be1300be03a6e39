package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/tidings-im/tidings/shared/retry"
)

const (
	// maxAhead is how many messages wait to be handled; what comes beyond is
	// dropped and pulled later.
	maxAhead = 256
	// pageSize is how many entries are pulled at once.
	pageSize = 100
	// gapGrace is how long a missing seq may take to come by itself: pushes from
	// different conversations overtake each other.
	gapGrace = 100 * time.Millisecond
)

// An inbox is what is known of the user's inbox. There is one reader, deliver,
// which alone pulls and handles; the socket only leaves messages ahead of it.
type inbox struct {
	cursor    int64 // seq of the last message handled
	head      int64 // greatest seq heard of
	ahead     map[int64]Message
	check     bool      // pull even if nothing seems missing: the head is not known, or is doubtful
	urgent    bool      // the server says that something is missing
	gapAt     time.Time // when to pull for a gap, zero if there is none
	settles   bool      // somebody else is pulling now, see settlePending
	notBefore time.Time // no pull before, for the last did not work
	skip      bool      // start at the head, once it is known
}

func newInbox(s State, fromNewest bool) inbox {
	return inbox{
		cursor: s.Cursor,
		head:   s.Cursor,
		ahead:  make(map[int64]Message),
		skip:   fromNewest && s.User == "" && s.Cursor == 0,
	}
}

// offer leaves a message for deliver to take when its turn comes.
func (in *inbox) offer(m Message) {
	in.head = max(in.head, m.Seq)
	if m.Seq <= in.cursor || len(in.ahead) >= maxAhead && m.Seq != in.cursor+1 {
		return
	}
	in.ahead[m.Seq] = m
}

// handled moves the cursor past seq.
func (in *inbox) handled(seq int64) {
	if seq == in.cursor+1 {
		delete(in.ahead, seq)
	} else { // over what was trimmed
		maps.DeleteFunc(in.ahead, func(s int64, _ Message) bool { return s <= seq })
	}
	in.cursor = seq
	in.head = max(in.head, seq)
	in.gapAt = time.Time{}
	if in.cursor == in.head {
		in.urgent = false
	}
}

// wants returns how long to wait before pulling; there is no need to if it is
// negative.
func (in *inbox) wants(now time.Time) time.Duration {
	switch {
	case in.settles || !in.check && in.head <= in.cursor:
		return -1
	case in.check || in.urgent:
		return max(0, in.notBefore.Sub(now))
	case in.gapAt.IsZero():
		in.gapAt = now.Add(gapGrace)
	}
	return max(0, in.gapAt.Sub(now), in.notBefore.Sub(now))
}

// seenHead returns the greatest seq that the inbox is known to have.
func (c *Client) seenHead() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.head
}

// pushed takes a message from the socket.
func (c *Client) pushed(seq int64, raw json.RawMessage) {
	m, err := decode(seq, raw)
	if err != nil {
		c.log.Warn("reading a pushed message", "err", err) // pulled later, as a gap
		return
	}
	c.mu.Lock()
	c.in.offer(m)
	c.mu.Unlock()
	c.settleOwn(m)
	wake(c.wakeInbox)
}

// startAt makes a Store that is new start at head, if it is known.
func (c *Client) startAt(head int64) {
	c.mu.Lock()
	skip := c.in.skip && head >= 0
	c.in.skip = c.in.skip && !skip
	c.mu.Unlock()
	if skip {
		c.moveCursor(head)
	}
}

// behind takes note of the head that the server tells, -1 if it does not know.
func (c *Client) behind(head int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case head < c.in.cursor || c.in.skip:
		c.in.check = true
	case head > c.in.cursor:
		c.in.head = max(c.in.head, head)
		c.in.urgent = true
	}
	wake(c.wakeInbox)
}

// settleOwn settles the sending that m came of: to be in the inbox is to be accepted.
func (c *Client) settleOwn(m Message) {
	c.mu.Lock()
	mine := m.From == c.user && c.out.byID[m.ClientID] != nil
	c.mu.Unlock()
	if mine {
		c.accepted(Receipt{ClientID: m.ClientID, ID: m.ID, Conversation: m.Conversation, Time: m.Time})
	}
}

// deliver calls OnMessage and OnEvent until the client stops.
func (c *Client) deliver() {
	defer c.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var failures backoff
	for c.ctx.Err() == nil {
		c.mu.Lock()
		var e Event
		if len(c.events) > 0 {
			e = c.events[0]
			c.events = c.events[1:]
		}
		m, ok := c.in.ahead[c.in.cursor+1]
		wait := time.Duration(-1)
		if c.live {
			wait = c.in.wants(time.Now())
		}
		c.mu.Unlock()

		switch {
		case e != nil:
			c.opt.OnEvent(e)
		case ok:
			c.handle(m)
		case wait == 0:
			c.pull(&failures)
		default:
			if wait < 0 {
				wait = time.Hour
			}
			timer.Reset(wait)
			select {
			case <-c.wakeInbox:
			case <-timer.C:
			case <-c.ctx.Done():
			}
		}
	}
}

// handle hands a message to the program and moves the cursor.
func (c *Client) handle(m Message) {
	if c.opt.OnMessage != nil {
		if err := c.opt.OnMessage(c.ctx, c, m); err != nil {
			c.stop(fmt.Errorf("handling message %s: %w", m.ID, err))
			return
		}
	}
	c.moveCursor(m.Seq)
}

func (c *Client) moveCursor(seq int64) {
	if seq <= c.Cursor() {
		return
	}
	if err := c.store.SaveCursor(context.WithoutCancel(c.ctx), seq); err != nil {
		c.stop(fmt.Errorf("%w: keeping the cursor: %w", errStore, err))
		return
	}
	c.mu.Lock()
	c.in.handled(seq)
	c.mu.Unlock()
}

// pull gets the entries after the cursor and handles them.
func (c *Client) pull(wait *backoff) {
	c.mu.Lock()
	cursor, skip, limit := c.in.cursor, c.in.skip, pageSize
	c.mu.Unlock()
	if skip {
		limit = 1
	}
	page, err := c.inbox(c.ctx, cursor, limit)
	if err != nil {
		c.log.Info("pulling the inbox did not work", "err", err)
		c.pullLater(max(retryAfter(err), wait.next()))
		return
	}
	c.mu.Lock()
	if skip {
		page.Entries = nil
		cursor = page.Head
		for seq := range c.in.ahead { // what was pushed is new
			cursor = min(cursor, seq-1)
		}
		c.mu.Unlock()
		c.moveCursor(cursor)
		c.mu.Lock()
	}
	c.in.check, c.in.skip = false, false
	rewound := page.Head < cursor && len(page.Entries) == 0
	if rewound {
		c.in.head = page.Head
	} else {
		c.in.head = max(c.in.head, page.Head)
	}
	missing := c.in.head > cursor && len(page.Entries) == 0
	c.mu.Unlock()
	switch {
	case rewound:
		c.emit(Rewound{Cursor: cursor, Head: page.Head})
	case missing: // the server says so once, so it is for the client to ask until it has it
		c.pullLater(wait.next())
		return
	}
	*wait = backoff{}
	for _, e := range page.Entries {
		if e.Seq <= cursor {
			continue
		}
		if c.ctx.Err() != nil {
			return
		}
		m, err := decode(e.Seq, e.Message)
		if err != nil { // nothing would ever come after it
			c.log.Error("passing over a message that cannot be read", "message", e.ID, "err", err)
			c.moveCursor(e.Seq)
			continue
		}
		c.settleOwn(m)
		c.handle(m)
	}
}

func (c *Client) pullLater(wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.notBefore = time.Now().Add(wait)
}

// settlePending finds in the inbox which of the messages on their way were
// accepted before the connection was lost: they must not be sent again, for the
// server remembers their ids only for a time.
func (c *Client) settlePending(ctx context.Context) error {
	c.mu.Lock()
	after := c.out.triedAfter()
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.in.settles = false
		c.mu.Unlock()
		wake(c.wakeInbox)
	}()
	var wait backoff
	for after < math.MaxInt64 {
		page, err := c.inbox(ctx, after, pageSize)
		if err != nil {
			c.log.Info("pulling the inbox did not work", "err", err)
			if err := retry.Sleep(ctx, max(retryAfter(err), wait.next())); err != nil {
				return err
			}
			continue
		}
		wait = backoff{}
		for _, e := range page.Entries {
			after = max(after, e.Seq)
			m, err := decode(e.Seq, e.Message)
			if err != nil {
				continue
			}
			c.mu.Lock()
			c.in.offer(m)
			c.mu.Unlock()
			c.settleOwn(m)
		}
		wake(c.wakeInbox)
		if !page.More || len(page.Entries) == 0 {
			break
		}
	}
	return nil
}

func (c *Client) inbox(ctx context.Context, after int64, limit int) (p InboxPage, err error) {
	err = c.Do(ctx, func(api *API, token string) (err error) {
		p, err = api.Inbox(ctx, token, after, limit)
		return err
	})
	return p, err
}

func decode(seq int64, raw json.RawMessage) (Message, error) {
	m := Message{Seq: seq}
	if err := json.Unmarshal(raw, &m.Message); err != nil {
		return m, fmt.Errorf("reading the message at seq %d: %w", seq, err)
	}
	return m, nil
}
