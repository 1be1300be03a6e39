package message

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

const maxDeleted = 100 // messages in one call

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

// entries are what inboxes hold.
type entries interface {
	// Find returns the seqs of those entries that are there.
	Find(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error)
}

type remover struct {
	change changer
	inbox  entries
}

// call deletes messages for the caller, all of them or none: from what they
// read of the history, and from their inbox. Nobody else is concerned, or told.
// Who is not in a group, any more or at all, deletes what their inbox holds of
// it: they keep that when they leave.
func (r *remover) call(ctx context.Context, caller im.Caller, in deleteRequest) (struct{}, error) {
	if err := in.check(); err != nil {
		return struct{}{}, err
	}
	err := r.delete(ctx, caller.User, in, false)
	if in.Conversation.Group() != "" && im.KindOf(err) == im.Denied {
		if err = r.has(ctx, caller.User, in); err == nil {
			err = r.delete(ctx, caller.User, in, true)
		}
	}
	return struct{}{}, err
}

// has reports NotFound unless the inbox of user holds what is to be deleted.
func (r *remover) has(ctx context.Context, user string, in deleteRequest) error {
	keys := make([]im.EntryKey, len(in.Messages))
	for i, id := range in.Messages {
		keys[i] = im.EntryKey{User: user, ID: id, Conversation: in.Conversation}
	}
	found, err := r.inbox.Find(ctx, keys)
	if err != nil {
		return fmt.Errorf("looking for what is to be deleted: %w", err)
	}
	for _, k := range keys {
		if _, ok := found[k]; !ok {
			return im.Errorf(im.NotFound, "there is no message %s for you in this conversation", k.ID)
		}
	}
	return nil
}

// delete deletes messages of a conversation in which user takes part, unless
// it is known that they have them.
func (r *remover) delete(ctx context.Context, user string, in deleteRequest, have bool) error {
	return await(ctx, user, func() error {
		return r.change(ctx, func(ctx context.Context, tx tx) error {
			if !have {
				if _, err := takesPart(ctx, tx, user, in.Conversation); err != nil {
					return err
				}
			}
			found, err := tx.Messages(ctx, in.Conversation, in.Messages)
			if err != nil {
				return err
			}
			if lacking := without(in.Messages, found); len(lacking) > 0 {
				return missing(in.Conversation, lacking...)
			}
			fresh, err := tx.DeleteMessages(ctx, user, in.Conversation, in.Messages)
			if err != nil || len(fresh) == 0 {
				return err
			}
			n, err := im.NewNotice(im.MessageDeleted, in.Conversation, user, map[string][]string{"messages": fresh})
			n.To, n.Quiet = []string{user}, true
			for _, m := range found {
				if slices.Contains(fresh, m.ID) {
					n.Amended = append(n.Amended, m.Deleted())
				}
			}
			tx.Notify(n)
			return err
		})
	})
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

// without returns those of ids that are of none of messages, the youngest first:
// it is the one that may still be on its way.
func without(ids []string, messages []im.Message) []string {
	var out []string
	for _, id := range ids {
		if !slices.ContainsFunc(messages, func(m im.Message) bool { return m.ID == id }) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}
