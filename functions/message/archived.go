package message

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

// An archiver finds messages that have left history.
type archiver interface {
	// Find returns those messages that are archived, whoever has deleted them for
	// themselves.
	Find(ctx context.Context, c im.Conversation, ids []string) ([]im.Message, error)
}

// archives knows of which times messages have left history.
type archives interface {
	Archived(ctx context.Context, at im.Time) (bool, error)
}

// archivedTx is a transaction that can lock messages that are not in history.
type archivedTx interface {
	tx
	// LockArchived keeps others from changing an archived message until the
	// transaction ends, and returns it as it is now.
	LockArchived(ctx context.Context, m im.Message) (im.Message, error)
}

// withArchive makes changes of archived messages as of any others. A change that
// misses a message is made again once that was found in the archive: that is
// asked while no transaction waits for it.
func withArchive(change func(context.Context, func(context.Context, archivedTx) error) error, times archives, old archiver) changer {
	return func(ctx context.Context, f func(context.Context, tx) error) error {
		known := knowing{}
		for {
			err := change(ctx, func(ctx context.Context, tx archivedTx) error {
				known.archivedTx = tx
				return f(ctx, known)
			})
			var missing *absent
			if !errors.As(err, &missing) || known.asked {
				return err
			}
			found, askErr := find(ctx, times, old, missing)
			if askErr != nil {
				return askErr
			}
			if len(found) == 0 {
				return err
			}
			known.asked, known.messages = true, found
		}
	}
}

func find(ctx context.Context, times archives, old archiver, missing *absent) ([]im.Message, error) {
	var ids []string
	for _, id := range missing.ids {
		at, ok := im.TimeOfMessageID(id)
		if !ok {
			continue
		}
		is, err := times.Archived(ctx, at)
		if err != nil {
			return nil, err
		}
		if is {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := old.Find(ctx, missing.conversation, ids)
	if err != nil {
		return nil, fmt.Errorf("looking for %d messages in the archive: %w", len(ids), err)
	}
	return found, nil
}

// knowing is a transaction that knows archived messages.
type knowing struct {
	archivedTx
	asked    bool
	messages []im.Message
}

func (k knowing) LockMessage(ctx context.Context, c im.Conversation, id string) (im.Message, bool, error) {
	m, ok, err := k.archivedTx.LockMessage(ctx, c, id)
	if ok || err != nil {
		return m, ok, err
	}
	i := slices.IndexFunc(k.messages, func(m im.Message) bool { return m.ID == id && m.Conversation == c })
	if i < 0 {
		return im.Message{}, false, nil
	}
	m, err = k.archivedTx.LockArchived(ctx, k.messages[i])
	return m, err == nil, err
}

func (k knowing) Messages(ctx context.Context, c im.Conversation, ids []string) ([]im.Message, error) {
	found, err := k.archivedTx.Messages(ctx, c, ids)
	if err != nil {
		return nil, err
	}
	for _, m := range k.messages {
		if m.Conversation == c && slices.Contains(ids, m.ID) && !slices.ContainsFunc(found, func(had im.Message) bool { return had.ID == m.ID }) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b im.Message) int {
		if a.Place().Less(b.Place()) {
			return -1
		}
		return 1
	})
	return found, nil
}
