package conversation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// newest knows what was said last.
type newest interface {
	// Newest returns the id of the newest message in one of a user's
	// conversations that is more than quiet; "" if there is none.
	Newest(ctx context.Context, user string, c im.Conversation) (string, error)
}

type updateRequest struct {
	Conversation im.Conversation `json:"conversation"`
	Pinned       *bool           `json:"pinned"`
	Muted        *bool           `json:"muted"`
	Hidden       *bool           `json:"hidden"`
}

// updated is what a notice says of a conversation.
type updated struct {
	Pinned bool `json:"pinned"`
	Muted  bool `json:"muted"`
	Hidden bool `json:"hidden"`
}

// update pins, mutes and hides a conversation of the caller, and tells their
// devices. A hidden one comes back with the next message in it.
func update(change changer, inbox newest, groups members) func(context.Context, im.Caller, updateRequest) (struct{}, error) {
	return func(ctx context.Context, caller im.Caller, in updateRequest) (struct{}, error) {
		done := struct{}{}
		if err := takesPart(in.Conversation, caller.User); err != nil {
			return done, err
		}
		if in.Pinned == nil && in.Muted == nil && in.Hidden == nil {
			return done, im.Errorf(im.Invalid, `say what to change: "pinned", "muted" or "hidden"`)
		}
		last, err := inbox.Newest(ctx, caller.User, in.Conversation)
		if err != nil {
			return done, fmt.Errorf("looking for the newest message: %w", err)
		}
		if last == "" {
			if err := isMember(ctx, groups, in.Conversation.Group(), caller.User); err != nil {
				return done, err
			}
		}
		to := im.ConversationChange{Pinned: in.Pinned, Muted: in.Muted}
		if in.Hidden != nil {
			to.Hidden = new(string)
			if *in.Hidden {
				*to.Hidden = last
			}
		}
		err = change(ctx, func(ctx context.Context, tx tx) error {
			now, changed, err := tx.ChangeConversation(ctx, caller.User, in.Conversation, to)
			if err != nil || !changed {
				return err
			}
			n, err := im.NewNotice(im.ConversationUpdated, in.Conversation, caller.User,
				updated{Pinned: now.Pinned, Muted: now.Muted, Hidden: now.Hidden != "" && now.Hidden >= last})
			n.Quiet, n.To = true, []string{caller.User}
			tx.Notify(n)
			return err
		})
		if err != nil {
			return done, fmt.Errorf("changing a conversation: %w", err)
		}
		return done, nil
	}
}

// isMember reports NotFound unless user is in a group, which there need not be.
func isMember(ctx context.Context, groups members, group, user string) error {
	unknown := im.Errorf(im.NotFound, "you have no such conversation")
	if group == "" {
		return unknown
	}
	members, err := groups.Members(ctx, group)
	if errors.Is(err, im.NotFound) {
		return unknown
	}
	if err != nil {
		return fmt.Errorf("reading the members of group %s: %w", group, err)
	}
	if _, is := slices.BinarySearch(members, user); !is {
		return unknown
	}
	return nil
}
