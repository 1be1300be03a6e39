package message

import (
	"context"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxDeleted = 100 // messages in one call

	// revisionDeleted is greater than that of any other change, so that none
	// brings a message back.
	revisionDeleted = 1 << 30
)

type deleter interface {
	// Messages returns those messages that history has.
	Messages(ctx context.Context, c im.Conversation, ids []string) ([]im.Message, error)
	// DeleteMessages leaves messages out of what user reads, and returns which
	// of them were not left out before.
	DeleteMessages(ctx context.Context, user string, c im.Conversation, messages []string) ([]string, error)
}

type deleteRequest struct {
	Conversation im.Conversation `json:"conversation"`
	Messages     []string        `json:"messages"`
}

// remove deletes messages for the caller, all of them or none: from what they
// read of the history, and from their inbox. Nobody else is concerned, or told.
func remove(change changer) func(context.Context, im.Caller, deleteRequest) (struct{}, error) {
	return func(ctx context.Context, caller im.Caller, in deleteRequest) (struct{}, error) {
		if err := in.check(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, await(ctx, func() error {
			return change(ctx, func(ctx context.Context, tx tx) error {
				if _, err := takesPart(ctx, tx, caller.User, in.Conversation); err != nil {
					return err
				}
				found, err := tx.Messages(ctx, in.Conversation, in.Messages)
				if err != nil {
					return err
				}
				for _, id := range in.Messages {
					if !slices.ContainsFunc(found, func(m im.Message) bool { return m.ID == id }) {
						return missing(id)
					}
				}
				fresh, err := tx.DeleteMessages(ctx, caller.User, in.Conversation, in.Messages)
				if err != nil || len(fresh) == 0 {
					return err
				}
				n, err := im.NewNotice(im.MessageDeleted, in.Conversation, caller.User, map[string][]string{"messages": fresh})
				n.To, n.Quiet = []string{caller.User}, true
				for _, m := range found {
					if slices.Contains(fresh, m.ID) {
						n.Amended = append(n.Amended, stub(m))
					}
				}
				tx.Notify(n)
				return err
			})
		})
	}
}

func (in deleteRequest) check() error {
	switch n := len(in.Messages); {
	case n == 0:
		return im.Errorf(im.Invalid, `"messages" names no message`)
	case n > maxDeleted:
		return im.Errorf(im.TooLarge, "%d messages can be deleted at a time, not %d", maxDeleted, n)
	}
	for _, id := range in.Messages {
		if err := checkID(id); err != nil {
			return err
		}
	}
	return in.Conversation.Check()
}

// stub is what is left of a message in the inbox of who has deleted it.
func stub(m im.Message) im.Message {
	return im.Message{
		ID: m.ID, Conversation: m.Conversation, Time: m.Time, From: m.From,
		Kind: im.KindDeleted, Revision: revisionDeleted,
	}
}
