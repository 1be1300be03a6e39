package chat

import (
	"hash/maphash"
	"sync"
)

// turns lets one batch at a time place and hand over the messages of a
// conversation. Conversations share a few locks, which batches take in one
// order, so that none waits for another in a circle.
type turns struct{ locks [64]sync.Mutex }

var turnSeed = maphash.MakeSeed()

// take waits for the turn of the conversations of messages, and returns what
// ends it.
func (t *turns) take(messages []*message) (done func()) {
	var want [len(t.locks)]bool
	for _, m := range messages {
		if m.err == nil {
			want[maphash.String(turnSeed, string(m.conversation))%uint64(len(want))] = true
		}
	}
	for i := range want {
		if want[i] {
			t.locks[i].Lock()
		}
	}
	return func() {
		for i := range want {
			if want[i] {
				t.locks[i].Unlock()
			}
		}
	}
}
