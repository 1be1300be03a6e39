package file

import (
	"context"
	"errors"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	// seenAge is how old a message is when it is first looked for: few are not in
	// history by then.
	seenAge = time.Hour

	// inMessages stands for grants where it is noted how far they are looked through.
	inMessages = "grants"
)

// An archiver finds messages that have left history.
type archiver interface {
	// Find returns those messages of a conversation that are archived, or came
	// after their time was.
	Find(ctx context.Context, of im.Conversation, ids []string) ([]im.Message, error)
}

// grants looks whether the messages came by which files were granted, and takes
// back what those granted that can come no more: chat-ingest grants before it
// writes, and may have been cut off between the two. It looks through all of
// which that is not known, as far as there is time, and goes on the next time
// where it ended. While the archive cannot be asked, what is of its time stays.
func (s *sweeper) grants(ctx context.Context) error {
	after, err := s.rows.SweptTo(ctx, inMessages)
	if err != nil {
		return err
	}
	now := time.Now()
	young, comes := im.TimeOf(now.Add(-seenAge)), im.TimeOf(now.Add(-s.comes))
	lost := &search{sweeper: s}
	err = inBatches(ctx, func(ctx context.Context) (int, error) {
		unseen, last, looked, err := s.rows.UnseenGrants(ctx, after, young, sweepBatch)
		if err != nil {
			return 0, err
		}
		for _, g := range unseen {
			if at, ok := im.TimeOfMessageID(g.Message); !ok || at > comes {
				continue
			} else if err := lost.look(ctx, g, at); err != nil {
				return 0, err
			}
		}
		if looked < sweepBatch {
			last = "" // begin anew
		}
		if ctx.Err() != nil || last == after {
			return looked, nil
		}
		after = last
		return looked, s.rows.SetSweptTo(ctx, inMessages, after)
	})
	return errors.Join(err, lost.failed)
}

// A search looks for messages that history has not got, in the archive.
type search struct {
	*sweeper
	failed error // of the archive, which is not asked again then
}

// look takes a grant back whose message, of this time, is nowhere. History was
// asked before: what leaves it meanwhile is found in the archive.
func (s *search) look(ctx context.Context, g im.FileGrant, at im.Time) error {
	archived, err := s.times.Archived(ctx, at)
	if err != nil {
		return err
	}
	if archived && s.failed == nil {
		var found []im.Message
		if found, s.failed = s.old.Find(ctx, g.Conversation, []string{g.Message}); len(found) > 0 {
			return s.rows.StoredGrants(ctx, []im.FileGrant{g})
		}
	}
	if archived && s.failed != nil {
		return nil
	}
	if err := s.rows.RevokeFile(ctx, g); err != nil {
		return err
	}
	s.metrics.count("ungranted")
	return nil
}
