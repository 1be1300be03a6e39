package archive

import (
	"context"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

// find returns those messages of a conversation that are archived, or came late,
// as they are now.
func (r *reader) find(ctx context.Context, c im.Conversation, ids []string) (found []im.Message, err error) {
	if len(ids) > event.MaxArchiveIDs {
		return nil, im.Errorf(im.TooLarge, "%d messages are asked for; %d are the most", len(ids), event.MaxArchiveIDs)
	}
	err = trying(func() error {
		found = nil
		var had row // of those of one conversation many are in one row group
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			at, ok := im.TimeOfMessageID(id)
			if !ok {
				continue
			}
			m, ok, err := r.lookUp(ctx, im.Key{Conversation: c, Place: im.Place{Time: at, ID: id}}, &had)
			if err != nil {
				return err
			}
			if ok {
				found = append(found, m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, r.amend(ctx, c, found)
}

// A row is a row group that was read.
type row struct {
	key      string
	group    int
	messages []im.Message
}

// lookUp returns an archived message, or one that came late, as it was.
func (r *reader) lookUp(ctx context.Context, k im.Key, had *row) (im.Message, bool, error) {
	m, ok, err := r.archived(ctx, k, had)
	if ok || err != nil {
		return m, ok, err
	}
	late, err := r.store.LateHistory(ctx, k.Conversation, "", before(k), false, 1)
	m, ok = pick(late, k)
	return m, ok, err
}

// archived returns an archived message, as it was.
func (r *reader) archived(ctx context.Context, k im.Key, had *row) (im.Message, bool, error) {
	pieces, err := r.store.Nearest(ctx, k.Conversation, before(k), k.Time, false, 1)
	if err != nil || len(pieces) == 0 || pieces[0].Starts > k.Time {
		return im.Message{}, false, err
	}
	p := pieces[0]
	var in []im.Message
	switch {
	case p.Source != "":
		if in, err = r.store.SourceHistory(ctx, p.Span, k.Conversation, "", before(k), false, 1); err != nil {
			return im.Message{}, false, err
		}
	case r.may(p.Part.Groups[0], k.Conversation):
		if g := p.Part.Groups[0]; had.key != p.Part.Key || had.group != g.Number {
			messages, err := r.objects.Read(ctx, p.Part, g)
			if err != nil {
				return im.Message{}, false, err
			}
			*had = row{p.Part.Key, g.Number, messages}
		}
		in = had.messages
	}
	m, ok := pick(in, k)
	return m, ok, nil
}

// before returns the place that k comes right after.
func before(k im.Key) im.Place {
	const digits = "0123456789abcdef"
	id := []byte(k.ID)
	for i := len(id) - 1; i >= 0; i-- {
		switch n := strings.IndexByte(digits, id[i]); {
		case n > 0:
			id[i] = digits[n-1]
			return im.Place{Time: k.Time, ID: string(id)}
		case n == 0: // borrows from the next
			id[i] = 'f'
		}
	}
	return im.Place{Time: k.Time - 1, ID: string(id)}
}

func pick(from []im.Message, k im.Key) (im.Message, bool) {
	i := slices.IndexFunc(from, func(m im.Message) bool { return m.Key() == k })
	if i < 0 {
		return im.Message{}, false
	}
	return from[i], true
}
