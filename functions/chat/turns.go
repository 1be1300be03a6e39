package chat

import (
	"slices"
	"sync"

	"github.com/tidings-im/tidings/shared/im"
)

// turns lets one batch at a time place and hand over the messages of a
// conversation. Each conversation has a lock of its own for as long as somebody
// holds it or waits for it. Batches take theirs in one order, so that none waits
// for another in a circle.
type turns struct {
	mu  sync.Mutex
	now map[im.Conversation]*turn
}

type turn struct {
	sync.Mutex
	batches int // that hold it or wait for it
}

// take waits for the turn of the conversations of messages, and returns what
// ends it.
func (t *turns) take(messages []*message) (done func()) {
	var of []im.Conversation
	for _, m := range messages {
		if m.err == nil {
			of = append(of, m.conversation)
		}
	}
	slices.Sort(of)
	of = slices.Compact(of)
	held := make([]*turn, len(of))
	for i, c := range of {
		held[i] = t.wait(c)
	}
	return func() {
		for i, c := range of {
			t.end(c, held[i])
		}
	}
}

// wait waits for the turn of a conversation.
func (t *turns) wait(c im.Conversation) *turn {
	t.mu.Lock()
	mine := t.now[c]
	if mine == nil {
		if t.now == nil {
			t.now = make(map[im.Conversation]*turn)
		}
		mine = &turn{}
		t.now[c] = mine
	}
	mine.batches++
	t.mu.Unlock()
	mine.Lock()
	return mine
}

func (t *turns) end(c im.Conversation, mine *turn) {
	mine.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.batches--; mine.batches == 0 {
		delete(t.now, c)
	}
}
