package ws

import (
	"context"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/frame"
	"github.com/tidings-im/tidings/shared/im"
)

// Receive does what events of others ask: it writes what is pushed, and closes
// connections whose session has ended or whose place was taken. Users and
// connections that are not here are none of its business.
func (h *Hub) Receive(_ context.Context, events []event.Event) error {
	errs := make(fn.Each, len(events))
	for i, e := range events {
		switch e.Type {
		case event.Push:
			errs[i] = h.push(e)
		case event.SessionEnded:
			errs[i] = h.endSession(e)
		}
	}
	return errs.Or()
}

// push writes a message with each recipient's own seq, or another frame as it
// is, to all devices of the recipients that are connected here.
func (h *Hub) push(e event.Event) error {
	var p event.Pushed
	if err := jsonv2.Unmarshal(e.Data, &p); err != nil {
		return im.Wrap(im.Invalid, err, "the data is not what a push carries")
	}
	if (len(p.Message) == 0) == (len(p.Frame) == 0) {
		return im.Errorf(im.Invalid, "a push carries a message or a frame")
	}
	placed := placedAt(e.ID)
	written := 0
	for _, to := range p.To {
		var b []byte
		h.each(to.User, func(c *Conn) {
			if p.Except != "" && c.who.Device == p.Except {
				return
			}
			if len(p.Frame) > 0 {
				if c.offer(p.Frame) {
					written++
				} else {
					h.Metrics.dropped.Inc()
				}
				return
			}
			written++
			if b == nil {
				b = frame.AppendMessage(make([]byte, 0, len(p.Message)+48), to.Seq, p.Message)
			}
			c.writeMessage(b, to.Seq, placed)
		})
	}
	if len(p.Frame) > 0 {
		h.Metrics.out("signal", written)
	} else {
		h.Metrics.out(frame.Message, written)
	}
	return nil
}

// placedAt returns the time of the message with whose id that of a push begins,
// or 0: so nobody has to look into the message for it.
func placedAt(push string) im.Time {
	const length = 36
	if len(push) < length {
		return 0
	}
	at, _ := im.TimeOfMessageID(push[:length])
	return at
}

func (h *Hub) endSession(e event.Event) error {
	var ended event.Ended
	if err := jsonv2.Unmarshal(e.Data, &ended); err != nil {
		return im.Wrap(im.Invalid, err, "the data is not what the end of a session carries")
	}
	why, ok := frame.CloseFor(ended.Reason)
	if !ok || ended.Session == "" && ended.Conn == "" {
		return im.Errorf(im.Invalid, "the end of a session names the session or a connection, and a reason of a close code")
	}
	end := func(c *Conn) {
		if ended.Session != "" && c.who.Session == ended.Session || ended.Conn != "" && c.who.ID == ended.Conn {
			c.Close(why, 0)
		}
	}
	if e.Subject != "" { // whose session it was
		h.each(e.Subject, end)
		return nil
	}
	for _, c := range h.ring.all() {
		end(c)
	}
	return nil
}
