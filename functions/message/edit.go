package message

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

type editRequest struct {
	target
	Text string `json:"text"`
}

// edit gives a message of the caller's another text and returns it as it is
// then. They may within the window, as long as they may write where it is.
func edit(change changer, policy string, window time.Duration) func(context.Context, im.Caller, editRequest) (im.Message, error) {
	return func(ctx context.Context, caller im.Caller, in editRequest) (m im.Message, err error) {
		if err := in.check(); err != nil {
			return m, err
		}
		if err := im.CheckText(in.Text); err != nil {
			return m, err
		}
		err = await(ctx, caller.User, func() error {
			return change(ctx, func(ctx context.Context, tx tx) (err error) {
				if err := mayWrite(ctx, tx, policy, caller.User, in.Conversation); err != nil {
					return err
				}
				if m, err = in.lock(ctx, tx); err != nil {
					return err
				}
				switch {
				case m.From != caller.User:
					return im.Errorf(im.Denied, "a message can be edited by its sender only")
				case m.Kind != im.KindText:
					return im.Errorf(im.Denied, "a message of this kind cannot be edited")
				case m.Recalled:
					return im.Errorf(im.Conflict, "the message was recalled: it cannot be edited any more")
				case m.Text == in.Text:
					return nil
				case time.Since(m.Time.Std()) > window:
					return im.Errorf(im.Denied, "a message can be edited for %s: this one is older", window)
				}
				m.Text, m.Edited = in.Text, im.Now()
				return amend(ctx, tx, &m, caller.User, im.MessageEdited, edited{m.ID, m.Edited}, nil)
			})
		})
		if err != nil {
			return im.Message{}, err
		}
		return m, nil
	}
}

// edited is what the notice of an edit says. It does not hold the text, for it
// stays in inboxes: what is recalled later would stay with it. Who is told of
// it gets the text as it is by then (persist-inbox, message-sync).
type edited struct {
	Message string  `json:"message"`
	Edited  im.Time `json:"edited"`
}
