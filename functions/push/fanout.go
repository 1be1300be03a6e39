package push

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// fanout pushes each message to whom it is for, to all devices of the sender
// as well: each of them counts the same seqs. It fails only events that make
// no sense.
func fanout(to *delivery) func(context.Context, []event.Event) error {
	return func(ctx context.Context, events []event.Event) error {
		failed := make(fn.Each, len(events))
		pushes := make([]push, 0, len(events))
		for i := range events {
			p, err := appended(&events[i])
			if err != nil {
				failed[i] = err
				continue
			}
			pushes = append(pushes, p)
		}
		to.deliver(ctx, pushes)
		return failed.Or()
	}
}

// appended reads an event of a message that came into inboxes.
func appended(e *event.Event) (push, error) {
	var a event.Appended
	if err := jsonv2.Unmarshal(e.Data, &a); err != nil {
		return push{}, im.Wrap(im.Invalid, err, "the data of the event does not tell of a message in inboxes")
	}
	if len(a.Message) == 0 {
		return push{}, im.Errorf(im.Invalid, "the event holds no message")
	}
	for _, r := range a.Entries {
		if !im.IsID(r.User) {
			return push{}, im.Errorf(im.Invalid, "%.40q is no user", r.User)
		}
	}
	return push{
		id:          e.ID,
		subject:     e.Subject,
		traceParent: e.TraceParent,
		head:        fmt.Appendf(nil, `{"message":%s,"to":[`, a.Message),
		to:          a.Entries,
	}, nil
}

// A push is one thing to be written to users, who are ids by their form.
type push struct {
	id          string
	subject     string // a conversation, or a user
	traceParent string
	head        []byte // of an event.Pushed in JSON, up to the first recipient
	to          []event.Recipient
}

// data returns the event.Pushed of p for some of its recipients. It is put
// together here because it is as hot as it is plain: what is said is copied
// once for each gateway, and never read.
func (p *push) data(to []event.Recipient) json.RawMessage {
	b := make([]byte, 0, len(p.head)+len(to)*48+2)
	b = append(b, p.head...)
	for i, r := range to {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"user":"`...)
		b = append(b, r.User...)
		b = append(b, `","seq":`...)
		b = strconv.AppendInt(b, r.Seq, 10)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
