package main

import (
	"fmt"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
)

// findings are violations of what the system promises: how many, and the first few.
type findings struct {
	mu    sync.Mutex
	n     int
	first []string
}

func (f *findings) add(format string, args ...any) {
	const most = 20
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if len(f.first) < most {
		f.first = append(f.first, fmt.Sprintf(format, args...))
	}
}

// A bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) set(n int64) {
	for int64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n int64) bool {
	return n/64 < int64(len(b)) && b[n/64]&(1<<(n%64)) != 0
}

// A pushCheck checks what is pushed to one connection: no message under two
// seqs, and the messages of a sender in their order. A push may be lost or
// repeated, for the inbox has it and its seq tells; those are counted.
type pushCheck struct {
	who      string
	found    *findings
	head     int64              // greatest seq pushed, or the head of the welcome
	holes    map[int64]struct{} // seqs below head that were not pushed
	last     map[int]int64      // by sender: the last message
	pushed   int64
	repeated int64
}

const maxHoles = 100_000

func newPushCheck(who string, head int64, found *findings) *pushCheck {
	return &pushCheck{who: who, found: found, head: head, holes: make(map[int64]struct{}), last: make(map[int]int64)}
}

// place notes a seq and reports whether it is new.
func (c *pushCheck) place(seq int64) bool {
	switch _, hole := c.holes[seq]; {
	case seq > c.head:
		for s := c.head + 1; s < seq && len(c.holes) < maxHoles; s++ {
			c.holes[s] = struct{}{}
		}
		c.head = seq
	case hole:
		delete(c.holes, seq)
	default:
		c.repeated++
		return false
	}
	return true
}

// saw notes a push and reports whether it is new.
func (c *pushCheck) saw(seq int64, s stamp) bool {
	if !c.place(seq) {
		return false
	}
	c.pushed++
	switch last, ok := c.last[s.sender]; {
	case ok && s.n == last:
		c.found.add("doubled: message %d of sender %d was pushed to %s again, as seq %d", s.n, s.sender, c.who, seq)
		return false
	case ok && s.n < last:
		c.found.add("out of order: message %d of sender %d was pushed to %s after %d", s.n, s.sender, c.who, last)
	default:
		c.last[s.sender] = s.n
	}
	return true
}

// A ledger is what a sender knows of its messages.
type ledger struct {
	sent     int64
	accepted bitmap
	count    int64 // of accepted
}

func (l *ledger) accept(n int64) bool {
	if n >= l.sent || l.accepted.has(n) {
		return false
	}
	l.accepted.set(n)
	l.count++
	return true
}

// places is where the messages of each sender stand in their conversations, as
// the first inbox that was checked has it: all others must agree.
type places struct {
	mu sync.Mutex
	at map[int][]im.Place // by sender, then by message
}

// agree notes where a message stands and reports whether all say so.
func (p *places) agree(s stamp, at im.Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = make(map[int][]im.Place)
	}
	all := p.at[s.sender]
	for int64(len(all)) <= s.n {
		all = append(all, im.Place{})
	}
	p.at[s.sender] = all
	if all[s.n] == (im.Place{}) {
		all[s.n] = at
	}
	return all[s.n] == at
}

// An inboxCheck checks what the inbox of one user holds after all is done,
// entry by entry: seqs without a hole, each message once, each sender's in
// their order and at the place where everybody has them, and in the end nothing
// lost.
type inboxCheck struct {
	who    string
	found  *findings
	places *places
	seq    int64
	last   map[int]int64    // by sender: the last message
	place  map[int]im.Place // by sender: where it stands
	seen   map[int]*bitmap

	// Entries that came after one that stands later in their conversation.
	// That is no violation: seq says what one misses, a conversation is shown
	// sorted by place.
	late    int64
	entries int64
	latest  map[im.Conversation]im.Place
}

func newInboxCheck(who string, after int64, found *findings, places *places) *inboxCheck {
	return &inboxCheck{
		who: who, found: found, places: places, seq: after,
		last: make(map[int]int64), place: make(map[int]im.Place), seen: make(map[int]*bitmap), latest: make(map[im.Conversation]im.Place),
	}
}

// saw notes an entry. ours is false if the message is not of this run.
func (c *inboxCheck) saw(seq int64, m im.Message, s stamp, ours bool) {
	if seq != c.seq+1 {
		c.found.add("hole: the inbox of %s goes from seq %d to %d", c.who, c.seq, seq)
	}
	c.seq = seq
	if !ours {
		return
	}
	at := m.Place()
	c.entries++
	if latest, ok := c.latest[m.Conversation]; ok && at.Less(latest) {
		c.late++
	} else {
		c.latest[m.Conversation] = at
	}
	seen := c.seen[s.sender]
	if seen == nil {
		seen = new(bitmap)
		c.seen[s.sender] = seen
	}
	if seen.has(s.n) {
		c.found.add("doubled: message %d of sender %d is in the inbox of %s again, at seq %d", s.n, s.sender, c.who, seq)
		return
	}
	seen.set(s.n)
	if !c.places.agree(s, at) {
		c.found.add("no one order: message %d of sender %d is at %s for %s, and elsewhere for another", s.n, s.sender, m.Time, c.who)
	}
	if last, ok := c.last[s.sender]; ok && (s.n < last || !c.place[s.sender].Less(at)) {
		c.found.add("out of order: message %d of sender %d comes after %d in the inbox of %s, at %s", s.n, s.sender, last, c.who, m.Time)
	}
	c.last[s.sender], c.place[s.sender] = s.n, at
}

// missing returns how many accepted messages of a sender the inbox does not have.
func (c *inboxCheck) missing(sender int, l *ledger) int {
	var seen bitmap
	if b := c.seen[sender]; b != nil {
		seen = *b
	}
	n := 0
	for i := range l.sent {
		if l.accepted.has(i) && !seen.has(i) {
			n++
		}
	}
	return n
}

// lost reports what is missing in the end.
func (c *inboxCheck) lost(sender int, l *ledger) {
	if n := c.missing(sender, l); n > 0 {
		c.found.add("lost: %d accepted messages of sender %d are not in the inbox of %s", n, sender, c.who)
	}
}
