package ws

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// typed is what the client last said that its user types, so that not every
// keystroke is passed on.
type typed struct {
	conversation im.Conversation
	at           time.Time
}

// signal passes on what is kept nowhere: typing, and signals with data. It is
// dropped where it would have to wait.
func (c *Conn) signal(f frame.FromClient) {
	conv, err := f.Draft.Conversation(c.who.User)
	if err != nil {
		c.complain(err)
		return
	}
	out := frame.FromServer{Type: f.Type, Conversation: conv, From: c.who.User}
	if f.Type == frame.Signal {
		out.Device, out.Data = c.who.Device, f.Data
	} else {
		now := time.Now()
		if c.typed.conversation == conv && now.Sub(c.typed.at) < typingEvery {
			return
		}
		c.typed = typed{conv, now}
	}
	e, err := c.hub.seal(event.Signal, string(conv), event.Signalled{
		From: c.who.User, Device: c.who.Device, Conversation: conv, Frame: out.Encode(),
	})
	if err != nil || !c.hub.signals.offer(&signalling{&e, c, f.Type == frame.Signal}) {
		c.hub.Metrics.dropped.Inc()
	}
}

// signalling is a signal on its way, and whose it is.
type signalling struct {
	event *event.Event
	conn  *Conn
	data  bool // it is more than that somebody types
}

// postSignals posts a batch to push-signal. What fails is gone; who may not
// signal there is told so.
func (h *Hub) postSignals(ctx context.Context, batch []*signalling) {
	events := make([]event.Event, len(batch))
	for i, s := range batch {
		events[i] = *s.event
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	results, err := h.Signal(ctx, events)
	if err != nil {
		h.Metrics.dropped.Add(float64(len(batch)))
		h.Log.Debug("passing on signals", "function", "push-signal", "count", len(batch), "err", err)
		return
	}
	for i, r := range results {
		if err := r.Err(); i < len(batch) && batch[i].data && errors.Is(err, im.Denied) {
			batch[i].conn.complain(err)
		}
	}
}
