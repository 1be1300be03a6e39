package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann = "aaaaaaaaaaaaaaaa"
	bob = "bbbbbbbbbbbbbbbb"
	cem = "cccccccccccccccc"

	staff = "ssssssssssssssss"
	gone  = "zzzzzzzzzzzzzzzz"
)

var errDown = im.Errorf(im.Unavailable, "down")

// mid returns the id of the n-th message.
func mid(n int) string { return fmt.Sprintf("01890000-0000-7000-8000-%012d", n) }

// shelf is inboxes in memory.
type shelf struct {
	entries []im.Entry
	err     error
	get     func(map[string]im.Entry) // changes what is got, by the ids of messages
}

// put adds the n-th message to the inbox of a user.
func (s *shelf) put(user string, n int, c im.Conversation, class im.Class) {
	s.entries = append(s.entries, im.Entry{
		User: user, Seq: int64(len(s.entries) + 1), ID: mid(n), Conversation: c, Class: class,
		Message: json.RawMessage(fmt.Sprintf(`{"id":%q}`, mid(n))),
	})
}

func (s *shelf) Get(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error) {
	found := make(map[string]im.Entry)
	for _, e := range s.entries {
		if slices.Contains(keys, e.Key()) {
			found[e.ID] = e
		}
	}
	if s.get != nil {
		s.get(found)
	}
	byKey := make(map[im.EntryKey]im.Entry)
	for _, e := range found {
		byKey[e.Key()] = e
	}
	return byKey, s.err
}

func (s *shelf) Latest(_ context.Context, user string, limit int) (map[im.Conversation]string, error) {
	latest := make(map[im.Conversation]string)
	for _, e := range s.entries {
		if e.User == user && e.Class > im.ClassQuiet {
			latest[e.Conversation] = max(latest[e.Conversation], e.ID)
		}
	}
	if len(latest) > limit {
		return nil, errors.New("too many")
	}
	return latest, s.err
}

func (s *shelf) Newest(ctx context.Context, user string, c im.Conversation) (string, error) {
	latest, err := s.Latest(ctx, user, maxConversations)
	return latest[c], err
}

func (s *shelf) Unread(_ context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error) {
	unread := make(map[im.Conversation]int)
	for _, e := range s.entries {
		mark, asked := after[e.Conversation]
		if asked && e.User == user && e.Class == im.ClassUnread && e.ID > mark {
			unread[e.Conversation] = min(unread[e.Conversation]+1, most)
		}
	}
	return unread, s.err
}

// book is what users have done to conversations, in memory.
type book struct {
	states  map[im.Conversation]im.ConversationState // of whoever asks
	notices []im.Notice
	err     error
}

func (b *book) ConversationStates(_ context.Context, _ string, of []im.Conversation) (map[im.Conversation]im.ConversationState, error) {
	states := maps.Clone(b.states)
	maps.DeleteFunc(states, func(c im.Conversation, _ im.ConversationState) bool { return !slices.Contains(of, c) })
	return states, b.err
}

// change is a changer.
func (b *book) change(ctx context.Context, f func(context.Context, tx) error) error {
	page := &page{book: b, states: maps.Clone(b.states)}
	if page.states == nil {
		page.states = make(map[im.Conversation]im.ConversationState)
	}
	if err := f(ctx, page); err != nil {
		return err
	}
	if b.err == nil {
		b.states = page.states
		b.notices = append(b.notices, page.notices...)
	}
	return b.err
}

// page is a transaction of a book.
type page struct {
	book    *book
	states  map[im.Conversation]im.ConversationState
	notices []im.Notice
}

func (p *page) MarkRead(_ context.Context, _ string, c im.Conversation, id string) (string, bool, error) {
	s := p.states[c]
	raised := id > s.Read
	s.Read = max(s.Read, id)
	p.states[c] = s
	return s.Read, raised, nil
}

func (p *page) ChangeConversation(_ context.Context, _ string, c im.Conversation, to im.ConversationChange) (im.ConversationState, bool, error) {
	now := p.states[c]
	if to.Pinned != nil {
		now.Pinned = *to.Pinned
	}
	if to.Muted != nil {
		now.Muted = *to.Muted
	}
	if to.Hidden != nil {
		now.Hidden = *to.Hidden
	}
	was := p.states[c]
	p.states[c] = now
	return now, now != was, nil
}

func (p *page) Notify(n ...im.Notice) { p.notices = append(p.notices, n...) }

// roster knows the members of groups.
type roster struct {
	groups map[string][]string
	err    error
}

func (r roster) Members(_ context.Context, group string) ([]string, error) {
	if r.err != nil {
		return nil, r.err
	}
	members, ok := r.groups[group]
	if !ok {
		return nil, im.Errorf(im.NotFound, "there is no such group")
	}
	return members, nil
}

// ties are what users are to each other.
type ties struct {
	is  map[im.Pair]im.Relation
	err error
}

func (t ties) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	found := make(map[im.Pair]im.Relation)
	for _, p := range pairs {
		found[p] = t.is[p]
	}
	return found, t.err
}
