package chat

import (
	"cmp"
	"context"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

type sendRequest struct {
	To      string `json:"to"` // as in a Draft
	Kind    string `json:"kind,omitempty"`
	Text    string `json:"text"`
	File    string `json:"file,omitempty"`
	ReplyTo string `json:"reply_to,omitempty"`
	ID      string `json:"id,omitempty"` // the caller's own; the Idempotency-Key if there is none
}

// send takes one message in by the way of all messages. One that comes again
// under its id, or under the Idempotency-Key of a call without an id, is
// answered by its first place, whether or not the answer was kept.
func (in *ingest) send(ctx context.Context, caller im.Caller, req sendRequest) (event.Placed, error) {
	m := &message{
		Submitted: event.Submitted{
			From: caller.User, Device: caller.Device, At: in.now(),
			Draft: im.Draft{
				ClientID: cmp.Or(req.ID, fn.KeyOf(ctx), im.NewID()),
				To:       req.To, Kind: req.Kind, Text: req.Text, File: req.File, ReplyTo: req.ReplyTo,
			},
		},
		traceParent: fn.TraceParent(ctx),
	}
	m.address()
	reply := in.take(ctx, []*message{m})[0]
	return reply.Value, reply.Err
}
