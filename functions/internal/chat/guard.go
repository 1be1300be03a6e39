package chat

import (
	"context"
	"fmt"

	"github.com/tidings-im/tidings/shared/im"
)

type relations interface {
	// Relations returns the relation of each pair.
	Relations(context.Context, []im.Pair) (map[im.Pair]im.Relation, error)
}

type members interface {
	// AreMembers answers each question, in order.
	AreMembers(context.Context, []im.Membership) ([]bool, error)
}

// guard knows who may send where.
type guard struct {
	relations relations
	members   members
	policy    string
}

// check sets the error of each message that its sender may not send, or of
// which that could not be told. It asks once for the whole batch, so that two
// messages of a sender in a conversation always get the same answer.
func (g guard) check(ctx context.Context, messages []*message) {
	var direct, inGroup []*message
	var pairs []im.Pair
	var memberships []im.Membership
	for _, m := range messages {
		if m.err != nil {
			continue
		}
		if group := m.conversation.Group(); group != "" {
			inGroup = append(inGroup, m)
			memberships = append(memberships, im.Membership{Group: group, User: m.From})
		} else {
			direct = append(direct, m)
			pairs = append(pairs, im.PairOf(m.conversation.Users()))
		}
	}
	if len(pairs) > 0 {
		found, err := g.relations.Relations(ctx, pairs)
		for i, m := range direct {
			if err != nil {
				m.err = fmt.Errorf("asking whether %s may write to %s: %w", m.From, m.conversation, err)
			} else {
				m.err = found[pairs[i]].MayWrite(g.policy)
			}
		}
	}
	if len(memberships) > 0 {
		found, err := g.members.AreMembers(ctx, memberships)
		for i, m := range inGroup {
			if err != nil {
				m.err = fmt.Errorf("asking whether %s is in %s: %w", m.From, m.conversation, err)
			} else if !found[i] {
				m.err = im.Errorf(im.Denied, "you are not in this group")
			}
		}
	}
}
