package ws

import (
	"context"
	"time"
)

// unknownHead is the head in a welcome that says: sync to find out.
const unknownHead = -1

// headAsk asks for the head of a user whom Redis does not know. Many who
// connect at once are asked for in one request.
type headAsk struct {
	user   string
	answer chan int64 // holds one
}

// headOf returns the head of a user's inbox as a welcome tells it.
func (h *Hub) headOf(user string) int64 {
	if !h.redis.open() {
		ctx, cancel := context.WithTimeout(context.Background(), redisWait)
		heads, err := h.Heads.Hints(ctx, []string{user})
		cancel()
		h.redis.note(err)
		if head, ok := heads[user]; ok {
			return head
		}
	}
	deadline := time.Now().Add(headWait)
	ask := &headAsk{user, make(chan int64, 1)}
	if !h.headAsks.put(ask, headWait) {
		return unknownHead
	}
	select {
	case head := <-ask.answer:
		return head
	case <-time.After(time.Until(deadline)):
		return unknownHead
	}
}

func (h *Hub) askHeads(ctx context.Context, batch []*headAsk) {
	users := make([]string, len(batch))
	for i, ask := range batch {
		users[i] = ask.user
	}
	ctx, cancel := context.WithTimeout(ctx, headWait)
	defer cancel()
	heads, err := h.Heads.Ask(ctx, users, false)
	if err != nil {
		h.Log.Warn("asking for heads", "function", "inbox-heads", "count", len(batch), "err", err)
	}
	for _, ask := range batch {
		if err != nil {
			ask.answer <- unknownHead
		} else {
			ask.answer <- heads[ask.user]
		}
	}
}
