package message

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

// parties know who takes part in conversations. What they say was so when they
// were asked: who is removed, muted or blocked in the same moment may come
// after what they did.
type parties interface {
	// Speaker returns what a user is in a group, and the members as far as it
	// takes to judge whether that user may speak.
	Speaker(ctx context.Context, group, user string) (im.Role, im.Members, error)
	// Relations returns the relation of each pair.
	Relations(context.Context, []im.Pair) (map[im.Pair]im.Relation, error)
}

// takesPart reports Denied unless user takes part in c, in the same words
// whether or not there is such a conversation, and what user is in its group.
func takesPart(ctx context.Context, in parties, user string, c im.Conversation) (im.Role, error) {
	if c.Peer(user) != "" {
		return im.RoleNone, nil
	}
	if group := c.Group(); group != "" {
		role, _, err := in.Speaker(ctx, group, user)
		if err != nil {
			return im.RoleNone, fmt.Errorf("asking who is in %s: %w", c, err)
		}
		if role != im.RoleNone {
			return role, nil
		}
	}
	return im.RoleNone, im.Errorf(im.Denied, "you are not in this conversation")
}

// mayWrite reports why user may not write in c: for the same reasons for which
// a message of theirs would be refused, in the same words.
func mayWrite(ctx context.Context, in parties, policy, user string, c im.Conversation) error {
	if group := c.Group(); group != "" {
		_, members, err := in.Speaker(ctx, group, user)
		if err != nil {
			return fmt.Errorf("asking who is in %s: %w", c, err)
		}
		return members.MaySpeak(user, im.Now())
	}
	if c.Peer(user) == "" {
		return im.Errorf(im.Denied, "you are not in this conversation")
	}
	pair := im.PairOf(c.Users())
	found, err := in.Relations(ctx, []im.Pair{pair})
	if err != nil {
		return fmt.Errorf("asking whether %s may write in %s: %w", user, c, err)
	}
	return found[pair].MayWrite(policy)
}
