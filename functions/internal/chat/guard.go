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
	// Of returns the members of those groups that exist.
	Of(ctx context.Context, groups []string) (map[string]im.Members, error)
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
	var groups []string
	for _, m := range messages {
		if m.err != nil {
			continue
		}
		if group := m.conversation.Group(); group != "" {
			inGroup = append(inGroup, m)
			groups = append(groups, group)
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
	if len(groups) > 0 {
		found, err := g.members.Of(ctx, groups)
		now := im.Now()
		for i, m := range inGroup {
			if err != nil {
				m.err = fmt.Errorf("asking whether %s may speak in %s: %w", m.From, m.conversation, err)
			} else {
				of := found[groups[i]]
				m.err = of.MaySpeak(m.From, now)
				m.recipients, m.slow = len(of.Users), of.SlowFor(m.From)
			}
		}
	}
}
