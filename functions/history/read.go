package history

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultRead = 50
	maxRead     = 200
)

// A reader reads the history of conversations.
type reader interface {
	// History returns at most limit messages, without those that user has
	// deleted for themselves: those right after from, oldest first, or
	// backwards those right before it, newest first; fewer if these are more
	// than im.MaxPage bytes as written.
	History(ctx context.Context, c im.Conversation, user string, from im.Place, backwards bool, limit int) ([]im.Message, im.Rest, error)

	// Reactions returns the reactions to messages, by message, and marks those
	// of user.
	Reactions(ctx context.Context, c im.Conversation, user string, messages []string) (map[string][]im.Reaction, error)
}

// An archiver reads what has left history.
type archiver interface {
	Read(ctx context.Context, ask event.ArchiveAsk) (event.ArchiveAnswer, error)
}

// members knows who is in which group.
type members interface {
	// IsMember reports whether a user is in a group. Nobody is in a group that
	// does not exist.
	IsMember(ctx context.Context, group, user string) (bool, error)
}

type readRequest struct {
	Conversation im.Conversation `json:"conversation"`
	Before       string          `json:"before,omitempty"` // a cursor: the messages that precede it
	After        string          `json:"after,omitempty"`  // a cursor: the messages that follow it
	Limit        int             `json:"limit,omitempty"`
}

// A readPage is a part of a conversation without holes, oldest first. Without
// a cursor in the request it ends with the newest message.
type readPage struct {
	Messages []im.Message `json:"messages"`
	Prev     string       `json:"prev,omitempty"` // "before" of the page that precedes this one; none if this is the first
	Next     string       `json:"next,omitempty"` // "after" of the page that follows, now or when more is said
}

func read(from reader, old archiver, groups members) func(context.Context, im.Caller, readRequest) (readPage, error) {
	return func(ctx context.Context, caller im.Caller, in readRequest) (readPage, error) {
		start, backwards, limit, err := parse(in)
		if err != nil {
			return readPage{}, err
		}
		if err := allow(ctx, groups, caller.User, in.Conversation); err != nil {
			return readPage{}, err
		}
		messages, rest, err := from.History(ctx, in.Conversation, caller.User, start, backwards, limit)
		if err != nil {
			return readPage{}, fmt.Errorf("reading history: %w", err)
		}
		ended := len(messages) < limit && !rest.Full
		if rest.Archived {
			// What leaves history between the two reads is in both, and counted once.
			found, err := old.Read(ctx, event.ArchiveAsk{
				Conversation: in.Conversation, User: caller.User, From: start, Backwards: backwards, Limit: limit,
			})
			if err != nil {
				return readPage{}, fmt.Errorf("reading the archive: %w", err)
			}
			all := archive.Merge(found, event.ArchiveAnswer{Messages: messages, Ended: ended}, backwards, limit)
			messages, ended = all.Messages, all.Ended
		}
		if err := attach(ctx, from, in.Conversation, caller.User, messages); err != nil {
			return readPage{}, err
		}
		if n := im.Fit(messages, limit, im.Message.WrittenLen); n < len(messages) {
			messages, ended = messages[:n], false
		}
		if backwards {
			slices.Reverse(messages)
		}
		page := readPage{Messages: messages, Prev: in.After, Next: in.After}
		if len(messages) == 0 {
			page.Messages = []im.Message{} // not null
			if backwards {
				page.Next = in.Before
			}
			return page, nil
		}
		page.Prev = formatCursor(messages[0].Place())
		page.Next = formatCursor(messages[len(messages)-1].Place())
		if backwards && ended {
			page.Prev = ""
		}
		return page, nil
	}
}

// attach gives messages their reactions.
func attach(ctx context.Context, from reader, c im.Conversation, user string, messages []im.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	reactions, err := from.Reactions(ctx, c, user, ids)
	if err != nil {
		return fmt.Errorf("reading reactions: %w", err)
	}
	for i := range messages {
		messages[i].Reactions = reactions[messages[i].ID]
	}
	return nil
}

func parse(in readRequest) (start im.Place, backwards bool, limit int, err error) {
	if limit, err = im.Limit(in.Limit, defaultRead, maxRead); err != nil {
		return start, false, 0, err
	}
	if in.Before != "" && in.After != "" {
		return start, false, 0, im.Errorf(im.Invalid, `only one of "before" and "after" can be given`)
	}
	if err := in.Conversation.Check(); err != nil {
		return start, false, 0, err
	}
	if in.After != "" {
		start, err = parseCursor(in.After)
		return start, false, limit, err
	}
	if in.Before != "" {
		start, err = parseCursor(in.Before)
		return start, true, limit, err
	}
	return im.LastPlace, true, limit, nil
}

// allow reports Denied unless user takes part in c, in the same words whether
// or not there is such a conversation.
func allow(ctx context.Context, groups members, user string, c im.Conversation) error {
	if c.Peer(user) != "" {
		return nil
	}
	if group := c.Group(); group != "" {
		is, err := groups.IsMember(ctx, group, user)
		if err != nil {
			return fmt.Errorf("asking who is in %s: %w", c, err)
		}
		if is {
			return nil
		}
	}
	return im.Errorf(im.Denied, "you are not in this conversation")
}
