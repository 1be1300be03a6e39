package conversation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/shared/cursor"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	defaultList = 50
	maxList     = 100
	maxUnread   = 1000 // further nobody counts
	listedLen   = 400  // bytes of one as written, at most, without its newest message

	// maxConversations is the most conversations of a user that are looked at.
	maxConversations = 10_000
)

// A reader reads the list of conversations out of inboxes.
type reader interface {
	entries

	// Latest returns the newest entry that is more than quiet, by the id of its
	// message, in each of a user's conversations, about limit of them at most.
	Latest(ctx context.Context, user string, limit int) (map[im.Conversation]string, error)

	// Unread returns how many unread entries of a user follow a message, in
	// each of the conversations given, up to most. "" precedes all messages.
	Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error)
}

// states are what users have done to their conversations.
type states interface {
	// ConversationStates leaves out conversations to which nothing was done.
	ConversationStates(ctx context.Context, user string, of []im.Conversation) (map[im.Conversation]im.ConversationState, error)
}

type listRequest struct {
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

type listed struct {
	Conversation im.Conversation `json:"conversation"`
	Last         json.RawMessage `json:"last"` // the newest message, as the inbox has it
	Seq          int64           `json:"seq"`  // of it
	Unread       int             `json:"unread"`
	Read         string          `json:"read,omitempty"`
	Pinned       bool            `json:"pinned"`
	Muted        bool            `json:"muted"`
}

// A listPage is a part of a user's conversations.
type listPage struct {
	Conversations []listed `json:"conversations"`
	Next          string   `json:"next,omitempty"`
}

// list hands a caller their conversations, the pinned ones first and then the
// newest. Between pages the list may change: what has moved up is not seen
// again, what has moved down may be.
func list(inbox reader, done states) func(context.Context, im.Caller, listRequest) (listPage, error) {
	return func(ctx context.Context, caller im.Caller, in listRequest) (listPage, error) {
		page := listPage{Conversations: []listed{}}
		limit, err := im.Limit(in.Limit, defaultList, maxList)
		if err != nil {
			return page, err
		}
		after, err := cursor.Decode(in.Cursor, position{})
		if err != nil {
			return page, err
		}

		latest, err := inbox.Latest(ctx, caller.User, maxConversations)
		if err != nil {
			return page, fmt.Errorf("reading conversations: %w", err)
		}
		conversations := make([]im.Conversation, 0, len(latest))
		for c := range latest {
			conversations = append(conversations, c)
		}
		state, err := done.ConversationStates(ctx, caller.User, conversations)
		if err != nil {
			return page, fmt.Errorf("reading what was done to conversations: %w", err)
		}
		var rows []row
		for c, id := range latest {
			r := row{position{state[c].Pinned, id}, c}
			if id > state[c].Hidden && after.before(r.position) {
				rows = append(rows, r)
			}
		}
		slices.SortFunc(rows, func(a, b row) int {
			switch {
			case a.before(b.position):
				return -1
			case b.before(a.position):
				return 1
			}
			return strings.Compare(string(a.conversation), string(b.conversation))
		})
		if len(rows) > limit {
			rows = rows[:limit]
			page.Next = cursor.Encode(rows[limit-1].position)
		}
		return page, fill(ctx, inbox, caller.User, rows, state, &page)
	}
}

// A row is a conversation on its way into a page.
type row struct {
	position
	conversation im.Conversation
}

// fill adds to a page what rows are about, as much as it may hold.
func fill(ctx context.Context, inbox reader, user string, rows []row, state map[im.Conversation]im.ConversationState, page *listPage) error {
	if len(rows) == 0 {
		return nil
	}
	keys, marks := make([]im.EntryKey, len(rows)), make(map[im.Conversation]string, len(rows))
	for i, r := range rows {
		keys[i], marks[r.conversation] = im.EntryKey{User: user, ID: r.ID, Conversation: r.conversation}, state[r.conversation].Read
	}
	last, err := inbox.Get(ctx, keys)
	if err != nil {
		return fmt.Errorf("reading the newest messages: %w", err)
	}
	unread, err := inbox.Unread(ctx, user, marks, maxUnread)
	if err != nil {
		return fmt.Errorf("counting what is unread: %w", err)
	}
	size := 0
	for i, r := range rows {
		e := last[keys[i]]
		if e.Class == im.ClassQuiet { // deleted since
			continue
		}
		if size += listedLen + len(e.Message); size > im.MaxPage && len(page.Conversations) > 0 {
			page.Next = cursor.Encode(rows[i-1].position)
			return nil
		}
		s := state[r.conversation]
		page.Conversations = append(page.Conversations, listed{
			Conversation: r.conversation, Last: e.Message, Seq: e.Seq,
			Unread: unread[r.conversation], Read: s.Read, Pinned: s.Pinned, Muted: s.Muted,
		})
	}
	return nil
}
