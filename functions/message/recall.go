package message

import (
	"context"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

// recall empties a message, for everybody. Its sender may within the window,
// counted from the time of the message by the clock of who recalls; the owner
// and the admins of a group may at any time. Who may not write any more, being
// muted or blocked, may still take back what they wrote.
func recall(change changer, window time.Duration) func(context.Context, im.Caller, target) (struct{}, error) {
	return func(ctx context.Context, caller im.Caller, in target) (struct{}, error) {
		if err := in.check(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, await(ctx, caller.User, func() error {
			return change(ctx, func(ctx context.Context, tx tx) error {
				role, err := takesPart(ctx, tx, caller.User, in.Conversation)
				if err != nil {
					return err
				}
				moderator := im.May(role, im.RecallOthers) == nil
				m, err := in.lock(ctx, tx)
				if err != nil {
					return err
				}
				switch {
				case m.Kind == im.KindNotice:
					return im.Errorf(im.Denied, "a notice cannot be recalled")
				case m.From != caller.User && !moderator:
					return im.Errorf(im.Denied, "a message can be recalled by its sender, and in a group by its owner and admins")
				case m.Recalled:
					return nil
				case !moderator && time.Since(m.Time.Std()) > window:
					return im.Errorf(im.Denied, "a message can be recalled for %s: this one is older", window)
				}
				if file := m.FileOf(); file != "" {
					if err := tx.RevokeFile(ctx, im.FileGrant{File: file, Conversation: m.Conversation, Message: m.ID}); err != nil {
						return err
					}
				}
				m.Text, m.Data, m.Recalled = "", nil, true
				if err := tx.ClearReactions(ctx, m.Conversation, m.ID); err != nil {
					return err
				}
				var former []string
				if group := m.Conversation.Group(); group != "" {
					if former, err = tx.Former(ctx, group, im.MaxFormer); err != nil {
						return err
					}
				}
				return amend(ctx, tx, &m, caller.User, im.MessageRecalled, map[string]string{"message": m.ID}, former)
			})
		})
	}
}
