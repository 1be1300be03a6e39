package ws

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/retry"
)

// exactEvery is how many rounds of anti-entropy go by what Redis remembers
// before one asks the store, in case Redis missed something.
const exactEvery = 10

// doubtRounds is how many rounds ask the store after Redis could not be
// reached: heads may not have come to it meanwhile, or it may have come back
// with what it knew long ago. The first of them may come before it is back.
const doubtRounds = 2

// antiEntropy finds, round by round, what no push has told: clients that are
// behind, and sessions that have ended.
//
// A connection is told of a head once. It has been told of a head by its
// welcome, by a message pushed to it, or by a behind frame; each arrives, in
// order, or the connection ends and the next begins with a welcome. A client
// that was told of a head pulls until it has it. So there is no need to know
// how far it got, only how far it was told.
func (h *Hub) antiEntropy(ctx context.Context) {
	wait := rand.N(h.AntiEntropy) // gateways that were started together do not ask together
	for round := 1; ; round++ {
		if retry.Sleep(ctx, wait) != nil {
			return
		}
		start := time.Now()
		doubtful := h.redis.doubt.Load() > 0
		if doubtful {
			h.redis.doubt.Add(-1)
		}
		h.compareHeads(ctx, doubtful || round%exactEvery == 0)
		h.checkSessions(ctx)
		wait = max(0, h.AntiEntropy-time.Since(start))
	}
}

// compareHeads tells whoever is behind.
func (h *Hub) compareHeads(ctx context.Context, exact bool) {
	for users := range slices.Chunk(h.Users(), MaxHeads) {
		if ctx.Err() != nil {
			return
		}
		missing := users
		if !exact && !h.redis.open() {
			ctx, cancel := context.WithTimeout(ctx, redisWait)
			heads, err := h.Heads.Hints(ctx, users)
			cancel()
			h.redis.note(err)
			h.tell(heads)
			missing = slices.DeleteFunc(slices.Clone(users), func(u string) bool { _, ok := heads[u]; return ok })
		}
		if len(missing) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, postTimeout)
		heads, err := h.Heads.Ask(ctx, missing, true)
		cancel()
		if err != nil {
			h.Log.Warn("comparing heads", "function", "inbox-heads", "count", len(missing), "err", err)
		}
		h.tell(heads)
	}
}

// tell writes a behind frame to each connection that has been told of less.
func (h *Hub) tell(heads map[string]int64) {
	for user, head := range heads {
		var b []byte
		h.each(user, func(c *Conn) {
			if !c.isBehind(head) {
				return
			}
			if b == nil {
				b = frame.FromServer{Type: frame.Behind, Head: head}.Encode()
			}
			c.writeHead(b, head)
			h.Metrics.out(frame.Behind, 1)
		})
	}
}

// isBehind reports whether c has been told of less than head. A connection
// that is not welcomed yet is about to be told.
func (c *Conn) isBehind(head int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open && c.head < head
}

// checkSessions closes connections whose session has ended.
func (h *Hub) checkSessions(ctx context.Context) {
	for conns := range slices.Chunk(h.ring.all(), 1000) {
		if ctx.Err() != nil || h.redis.open() {
			return
		}
		sessions := make([]string, len(conns))
		for i, c := range conns {
			sessions[i] = c.who.Session
		}
		ctx, cancel := context.WithTimeout(ctx, redisWait)
		ended, err := h.Sessions.Ended(ctx, sessions)
		cancel()
		h.redis.note(err)
		for _, c := range conns {
			if ended[c.who.Session] {
				c.Close(frame.CloseSignedOut, 0)
			}
		}
	}
}
