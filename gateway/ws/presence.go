package ws

import (
	"context"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// join makes c known to all gateways and has those go that it takes the place
// of. If Redis cannot be reached the client is let in all the same, messages
// matter more than presence: the next renewal adds it.
func (h *Hub) join(c *Conn) {
	err := errPaused
	if !h.redis.open() {
		ctx, cancel := context.WithTimeout(context.Background(), redisWait)
		defer cancel()
		var who im.Conn
		var gone []im.Displaced
		if who, gone, err = h.Presence.Connect(ctx, c.who); err == nil {
			c.since.Store(int64(who.Since))
			h.evict(gone)
			select {
			case h.arrived <- struct{}{}:
			default:
			}
			return
		}
		h.redis.note(err)
	}
	// By our own clock for once, so that renewals have something to go by.
	c.since.Store(int64(im.Now()))
	h.Log.Debug("adding a connection", "user", c.who.User, "conn", c.who.ID, "err", err)
}

// leave undoes join.
func (h *Hub) leave(c *Conn) {
	h.forget(c.entry())
}

// forget removes connections from presence. If that fails their leases end.
func (h *Hub) forget(gone ...im.Conn) {
	if len(gone) == 0 || h.redis.open() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), redisWait)
	defer cancel()
	h.redis.note(h.Presence.Disconnect(ctx, gone...))
}

// entry returns c as presence has it.
func (c *Conn) entry() im.Conn {
	e := c.who
	e.Since = im.Time(c.since.Load())
	return e
}

// renew extends the leases of some of the connections.
func (h *Hub) renew(ctx context.Context, conns []*Conn) {
	entries := make([]im.Conn, 0, len(conns))
	for _, c := range conns {
		if c.since.Load() != 0 { // else it is joining
			entries = append(entries, c.entry())
		}
	}
	if len(entries) == 0 || h.redis.open() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*redisWait)
	defer cancel()
	gone, err := h.Presence.Refresh(ctx, entries)
	h.redis.note(err)
	if err != nil {
		h.Log.Warn("renewing presence", "count", len(entries), "err", err)
	}
	h.evict(gone)
	h.forget(left(conns)...)
}

// left returns those of conns that may have left presence, and been added again,
// while they were renewed.
func left(conns []*Conn) []im.Conn {
	var gone []im.Conn
	for _, c := range conns {
		if c.ending() {
			gone = append(gone, c.entry())
		}
	}
	return gone
}

// evict closes connections that have to go: those of this gateway at once,
// others by way of theirs. Should that way fail, the other gateway learns it
// when it renews them.
func (h *Hub) evict(gone []im.Displaced) {
	elsewhere := make(map[string][]event.Event)
	for _, d := range gone {
		if d.Gateway == h.Gateway {
			h.end(d.User, d.ID, d.Reason)
			continue
		}
		e, err := h.seal(event.SessionEnded, d.User, event.Ended{Conn: d.ID, Reason: d.Reason})
		if err == nil {
			elsewhere[d.Gateway] = append(elsewhere[d.Gateway], e)
		}
	}
	for gateway, events := range elsewhere {
		if !h.evicting.TryAcquire(1) {
			return
		}
		go func() {
			defer h.evicting.Release(1)
			ctx, cancel := context.WithTimeout(context.Background(), postTimeout)
			defer cancel()
			if err := h.Evict(ctx, gateway, events); err != nil {
				h.Log.Debug("closing connections of another gateway", "gateway", gateway, "err", err)
			}
		}()
	}
}

// end closes one connection of user.
func (h *Hub) end(user, conn, reason string) {
	why, ok := frame.CloseFor(reason)
	if !ok {
		return
	}
	h.each(user, func(c *Conn) {
		if c.who.ID == conn {
			c.Close(why, 0)
		}
	})
}
