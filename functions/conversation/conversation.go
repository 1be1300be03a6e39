package conversation

import (
	"context"

	"github.com/tidings-im/tidings/shared/im"
)

// A tx is a transaction that changes what a user has done to conversations.
type tx interface {
	// MarkRead notes that a user has read up to a message, and returns up to
	// which one they have now: it never goes back.
	MarkRead(ctx context.Context, user string, c im.Conversation, id string) (mark string, raised bool, err error)

	// ChangeConversation changes the rest. Conflict: as many are pinned as may be.
	ChangeConversation(ctx context.Context, user string, c im.Conversation, to im.ConversationChange) (now im.ConversationState, changed bool, err error)

	// Notify has notices published if the transaction is committed.
	Notify(...im.Notice)
}

// A changer runs f in a transaction, which is committed unless f fails.
type changer func(ctx context.Context, f func(context.Context, tx) error) error

// members knows the members of groups.
type members interface {
	// Members returns the users in a group, sorted; NotFound if there is no such group.
	Members(ctx context.Context, group string) ([]string, error)
}

// takesPart reports what is wrong with c as a conversation of user, as far as
// it can be told by looking at it.
func takesPart(c im.Conversation, user string) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Group() == "" && c.Peer(user) == "" {
		return im.Errorf(im.Denied, "you are not in this conversation")
	}
	return nil
}
