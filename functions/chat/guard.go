package chat

import (
	"context"
	"errors"
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

type newcomers interface {
	// Reach counts that an account turns to strangers. Overloaded: they are too
	// many for one that is so new.
	Reach(ctx context.Context, from string, strangers ...string) error
	// Met notes that somebody turned to an account, which may answer.
	Met(ctx context.Context, user, from string) error
}

// guard knows who may send where.
type guard struct {
	relations relations
	members   members
	newcomers newcomers
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
		met := make(map[approach]error)
		for i, m := range direct {
			if err != nil {
				m.err = fmt.Errorf("asking whether %s may write to %s: %w", m.From, m.conversation, err)
			} else if m.err = found[pairs[i]].MayWrite(g.policy); m.err == nil && !found[pairs[i]].Friends {
				m.err = g.approach(ctx, m, met)
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

// An approach is of a user to one who is no friend of theirs.
type approach struct{ from, to string }

// approach returns whether the sender of a message may turn to a stranger: what
// met holds, if it was asked before. New accounts write to few whom they do not
// know, and to whoever wrote to them.
func (g guard) approach(ctx context.Context, m *message, met map[approach]error) error {
	a := approach{from: m.From}
	if one, other := m.conversation.Users(); one == m.From {
		a.to = other
	} else {
		a.to = one
	}
	err, asked := met[a]
	if !asked {
		if err = g.newcomers.Reach(ctx, a.from, a.to); err == nil {
			err = g.newcomers.Met(ctx, a.to, a.from)
		}
		var much *im.Error
		switch {
		case errors.As(err, &much) && much.Kind == im.Overloaded: // that will pass too late for a message to wait for it
			err = im.Wrap(im.Denied, err, "%s", much.Msg)
		case err != nil:
			err = fmt.Errorf("asking whether %s may write to a stranger: %w", a.from, err)
		}
		met[a] = err
	}
	return err
}
