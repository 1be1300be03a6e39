package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	maxRead      = 200        // messages in an answer
	maxReadBytes = im.MaxPage // of them as written, unless the first is larger
	atOnce       = 32         // spans that the catalog is asked for at a time
	maxTries     = 3          // of a read during which spans went from the database into objects
)

// A finder knows which messages are where, and has those that are in no object.
type finder interface {
	// Nearest returns of each of at most limit spans, the nearest first, what of
	// it could hold the messages of a conversation right after, or right before, a
	// place; but not of spans that end, or start, before edge does.
	Nearest(ctx context.Context, c im.Conversation, from im.Place, edge im.Time, backwards bool, limit int) ([]im.Piece, error)
	// SourceHistory returns messages of a span that is not all in objects, without
	// those that user has deleted for themselves. NotFound: it is by now.
	SourceHistory(ctx context.Context, span im.Span, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error)
	// LateHistory returns messages that came after their time was archived,
	// without those that user has deleted for themselves.
	LateHistory(ctx context.Context, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, error)
	// ArchiveChanges returns what may have changed of messages, by id.
	ArchiveChanges(ctx context.Context, c im.Conversation, places []im.Place) (map[string]im.Message, error)
	// DeletedMessages returns those that their user has deleted.
	DeletedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error)
}

type objects interface {
	// Read returns the messages of a row group of a part, in their order.
	Read(ctx context.Context, part im.Part, g im.RowGroup) ([]im.Message, error)
}

// nowhere is the objects of a deployment that has no store for them.
type nowhere struct{}

func (nowhere) Read(context.Context, im.Part, im.RowGroup) ([]im.Message, error) {
	return nil, im.Errorf(im.Unavailable, "this part of the history is in the archive, and archive-read is not told where that is (ARCHIVE_URL)")
}

// A reader reads what is archived, from wherever it is.
type reader struct {
	store   finder
	objects objects
	may     func(im.RowGroup, im.Conversation) bool // whether a conversation may be in a row group
}

func (r *reader) answer(ctx context.Context, asks []event.ArchiveAsk) []fn.Reply[event.ArchiveAnswer] {
	replies := make([]fn.Reply[event.ArchiveAnswer], len(asks))
	for i, ask := range asks {
		replies[i].Value, replies[i].Err = r.one(ctx, ask)
		if replies[i].Value.Messages == nil {
			replies[i].Value.Messages = []im.Message{}
		}
	}
	return replies
}

func (r *reader) one(ctx context.Context, ask event.ArchiveAsk) (event.ArchiveAnswer, error) {
	if err := ask.Conversation.Check(); err != nil {
		return event.ArchiveAnswer{}, err
	}
	if len(ask.IDs) > 0 {
		messages, err := r.find(ctx, ask.Conversation, ask.IDs)
		return event.ArchiveAnswer{Messages: messages, Ended: true}, err
	}
	if ask.Limit < 1 || ask.Limit > maxRead {
		return event.ArchiveAnswer{}, im.Errorf(im.Invalid, "a limit of %d is not 1 to %d", ask.Limit, maxRead)
	}
	var page event.ArchiveAnswer
	err := trying(func() (err error) {
		page, err = (&reading{reader: r, ask: ask}).page(ctx)
		return err
	})
	return page, err
}

// trying calls f again if a span went into objects meanwhile.
func trying(f func() error) error {
	for try := 1; ; try++ {
		if err := f(); !errors.Is(err, im.NotFound) || try == maxTries {
			if errors.Is(err, im.NotFound) { // an object is not where the catalog says
				return im.Wrap(im.Internal, err, "this part of the history cannot be read now")
			}
			return err
		}
	}
}

// A reading is one page in the making.
type reading struct {
	*reader
	ask   event.ArchiveAsk
	found []im.Message
	size  int // bytes of found
	full  bool
}

// page returns what the archive has, and what came late, as it is now.
func (r *reading) page(ctx context.Context) (page event.ArchiveAnswer, err error) {
	if page.Ended, err = r.read(ctx); err != nil {
		return page, err
	}
	page.Messages = r.found
	late, err := r.store.LateHistory(ctx, r.ask.Conversation, r.ask.User, r.ask.From, r.ask.Backwards, r.ask.Limit)
	if err != nil {
		return page, err
	}
	if len(late) > 0 {
		page = archive.Merge(page, event.ArchiveAnswer{Messages: late, Ended: len(late) < r.ask.Limit}, r.ask.Backwards, r.ask.Limit)
	}
	if err := r.amend(ctx, r.ask.Conversation, page.Messages); err != nil {
		return page, err
	}
	if n := im.Fit(page.Messages, len(page.Messages), im.Message.WrittenLen); n < len(page.Messages) {
		page.Messages, page.Ended = page.Messages[:n], false
	}
	return page, nil
}

// read finds what the archive has, span after span, and reports whether that is
// all of it.
func (r *reading) read(ctx context.Context) (ended bool, err error) {
	from, edge := r.ask.From, r.ask.From.Time
	if r.ask.Backwards {
		edge++
	}
	for !r.full {
		pieces, err := r.store.Nearest(ctx, r.ask.Conversation, from, edge, r.ask.Backwards, atOnce)
		if err != nil {
			return false, err
		}
		more := false
		for _, p := range pieces {
			if more, err = r.take(ctx, p); err != nil || r.full {
				return false, err
			}
			near, far := p.Starts, p.Ends
			if r.ask.Backwards {
				near, far = p.Ends, p.Starts
			}
			edge = far
			if more { // of this span: its next row group
				edge, from = near, p.Part.Groups[0].Last.Place
				if r.ask.Backwards {
					from = p.Part.Groups[0].First.Place
				}
				break
			}
		}
		if !more && len(pieces) < atOnce {
			return true, nil
		}
	}
	return false, nil
}

// take adds what a piece holds of the conversation, and reports whether the
// row group next to it may hold more.
func (r *reading) take(ctx context.Context, p im.Piece) (more bool, err error) {
	c := r.ask.Conversation
	if p.Source != "" {
		found, err := r.store.SourceHistory(ctx, p.Span, c, r.ask.User, r.ask.From, r.ask.Backwards, r.ask.Limit-len(r.found))
		r.add(found)
		return false, err
	}
	g := p.Part.Groups[0]
	if !r.may(g, c) {
		return false, nil
	}
	all, err := r.objects.Read(ctx, p.Part, g)
	if err != nil {
		return false, err
	}
	var found []im.Message
	for _, m := range all {
		if m.Conversation == c && (!r.ask.Backwards && r.ask.From.Less(m.Place()) || r.ask.Backwards && m.Place().Less(r.ask.From)) {
			found = append(found, m)
		}
	}
	if r.ask.Backwards {
		slices.Reverse(found)
	}
	if found, err = r.kept(ctx, found); err != nil {
		return false, err
	}
	r.add(found)
	if r.ask.Backwards {
		return g.First.Conversation == c, nil
	}
	return g.Last.Conversation == c, nil
}

// add adds messages to what was found, as far as an answer takes them.
func (r *reading) add(messages []im.Message) {
	for _, m := range messages {
		if r.size += m.WrittenLen(); r.size > maxReadBytes && len(r.found) > 0 {
			r.full = true
		}
		if r.full {
			return
		}
		r.found = append(r.found, m)
		r.full = len(r.found) == r.ask.Limit
	}
}

// kept returns messages without those that the user has deleted for themselves.
func (r *reading) kept(ctx context.Context, messages []im.Message) ([]im.Message, error) {
	var kept []im.Message
	for part := range slices.Chunk(messages, maxRead) {
		keys := make([]im.EntryKey, len(part))
		for i, m := range part {
			keys[i] = im.EntryKey{User: r.ask.User, ID: m.ID, Conversation: m.Conversation}
		}
		deleted, err := r.store.DeletedMessages(ctx, keys)
		if err != nil {
			return nil, fmt.Errorf("asking what is deleted: %w", err)
		}
		for i, m := range part {
			if !deleted[keys[i]] {
				kept = append(kept, m)
			}
		}
		if len(r.found)+len(kept) >= r.ask.Limit {
			break
		}
	}
	return kept, nil
}

// amend makes messages what has become of them.
func (r *reader) amend(ctx context.Context, c im.Conversation, messages []im.Message) error {
	if len(messages) == 0 {
		return nil
	}
	places := make([]im.Place, len(messages))
	for i, m := range messages {
		places[i] = m.Place()
	}
	changes, err := r.store.ArchiveChanges(ctx, c, places)
	if err != nil {
		return err
	}
	for i := range messages {
		m := &messages[i]
		if now, ok := changes[m.ID]; ok && now.Revision > m.Revision {
			m.Text, m.Data, m.Revision, m.Edited, m.Recalled = now.Text, now.Data, now.Revision, now.Edited, now.Recalled
		}
	}
	return nil
}
