package conversation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// entries are what inboxes hold.
type entries interface {
	// Get returns those entries that are there.
	Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error)
}

// relations know what users are to each other.
type relations interface {
	// Relations returns the relation of each pair.
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error)
}

type readRequest struct {
	Conversation im.Conversation `json:"conversation"`
	Message      string          `json:"message"`
}

type readAnswer struct {
	Message string `json:"message"` // up to which the caller has read
}

// A marker marks what callers have read.
type marker struct {
	change    changer
	inbox     entries
	relations relations
	members   members
	most      int // members of a group whose members are told
}

// read marks a conversation as read by the caller up to a message, and tells
// their devices, and those who may know of it. A mark never goes back: what was
// read already is answered with the mark as it is, and told to nobody.
func (m *marker) read(ctx context.Context, caller im.Caller, in readRequest) (readAnswer, error) {
	if err := takesPart(in.Conversation, caller.User); err != nil {
		return readAnswer{}, err
	}
	if !im.IsMessageID(in.Message) {
		return readAnswer{}, im.Errorf(im.Invalid, `"message" is the id of the last message that you have read`)
	}
	// Nobody marks what they do not have; in particular nothing that has not
	// been said. Who has left a group still has what was said before.
	found, err := m.inbox.Get(ctx, []im.EntryKey{{User: caller.User, ID: in.Message, Conversation: in.Conversation}})
	if err != nil {
		return readAnswer{}, fmt.Errorf("looking for what was read: %w", err)
	}
	if len(found) == 0 {
		return readAnswer{}, im.Errorf(im.NotFound, "there is no such message for you in this conversation")
	}
	to, err := m.told(ctx, caller.User, in.Conversation)
	if err != nil {
		return readAnswer{}, err
	}
	var mark string
	err = m.change(ctx, func(ctx context.Context, tx tx) error {
		var raised bool
		var err error
		if mark, raised, err = tx.MarkRead(ctx, caller.User, in.Conversation, in.Message); err != nil || !raised {
			return err
		}
		n, err := im.NewNotice(im.MessageRead, in.Conversation, caller.User, struct {
			Message string `json:"message"`
			User    string `json:"user"`
		}{mark, caller.User})
		n.Quiet, n.To = true, to
		tx.Notify(n)
		return err
	})
	if err != nil {
		return readAnswer{}, fmt.Errorf("marking what was read: %w", err)
	}
	return readAnswer{mark}, nil
}

// told returns whom a user's mark is told to: the other one of a direct
// conversation, the members (nil is all of them) of a small group that the user
// is in, but for those who have blocked the user or whom the user has blocked;
// else their own devices alone.
func (m *marker) told(ctx context.Context, user string, c im.Conversation) ([]string, error) {
	if peer := c.Peer(user); peer != "" {
		return m.unblocked(ctx, user, []string{peer})
	}
	members, err := m.members.Members(ctx, c.Group())
	if errors.Is(err, im.NotFound) {
		return []string{user}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the members of %s: %w", c, err)
	}
	if _, is := slices.BinarySearch(members, user); !is || len(members) > m.most {
		return []string{user}, nil
	}
	to, err := m.unblocked(ctx, user, slices.DeleteFunc(slices.Clone(members), func(u string) bool { return u == user }))
	if len(to) == len(members) {
		return nil, err
	}
	return to, err
}

// unblocked returns user and those of others, who are none of them, between
// whom and the user there is no block, and who have not been deleted.
func (m *marker) unblocked(ctx context.Context, user string, others []string) ([]string, error) {
	pairs := make([]im.Pair, len(others))
	for i, o := range others {
		pairs[i] = im.PairOf(user, o)
	}
	are, err := m.relations.Relations(ctx, pairs)
	if err != nil {
		return nil, fmt.Errorf("asking what %d users are to another: %w", len(others), err)
	}
	to := []string{user}
	for i, o := range others {
		if r := are[pairs[i]]; r.Exist && !r.Blocked {
			to = append(to, o)
		}
	}
	return to, nil
}
