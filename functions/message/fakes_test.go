package message

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	ann   = "aaaaaaaaaaaaaaaa" // owns staff
	bob   = "bbbbbbbbbbbbbbbb" // an admin of staff
	cleo  = "cccccccccccccccc" // has blocked ann, or the other way round; a member of staff
	dave  = "dddddddddddddddd" // a member of staff who is muted
	eve   = "eeeeeeeeeeeeeeee" // in no group
	staff = "ssssssssssssssss"
	gone  = "gggggggggggggggg" // a group that there is not
)

// book is what was said, in memory: what a transaction did to it is undone if
// the transaction fails.
type book struct {
	messages  map[string]im.Message
	reactions map[string][]string // message → user + emoji
	deleted   map[string]bool     // user + message
	notices   []im.Notice
	revoked   []im.FileGrant

	inboxes     []string // user + message
	inboxesDown bool

	muted  bool // staff
	err    error
	looks  int
	arrive func(look int) // called before each transaction
}

func newBook(messages ...im.Message) *book {
	b := &book{messages: map[string]im.Message{}, reactions: map[string][]string{}, deleted: map[string]bool{}}
	for _, m := range messages {
		b.messages[m.ID] = m
	}
	return b
}

func (b *book) change(ctx context.Context, f func(context.Context, tx) error) error {
	b.looks++
	if b.arrive != nil {
		b.arrive(b.looks)
	}
	t := &page{book: b, messages: maps.Clone(b.messages), reactions: maps.Clone(b.reactions), deleted: maps.Clone(b.deleted)}
	err := f(ctx, t)
	if err == nil {
		err = b.err
	}
	if err == nil {
		b.messages, b.reactions, b.deleted = t.messages, t.reactions, t.deleted
		b.notices = append(b.notices, t.notices...)
	}
	return err
}

func (b *book) Find(_ context.Context, keys []im.EntryKey) (map[im.EntryKey]int64, error) {
	if b.inboxesDown {
		return nil, im.Errorf(im.Unavailable, "down")
	}
	found := map[im.EntryKey]int64{}
	for i, k := range keys {
		if slices.Contains(b.inboxes, k.User+k.ID) && b.messages[k.ID].Conversation == k.Conversation {
			found[k] = int64(i)
		}
	}
	return found, nil
}

// page is a transaction on a book.
type page struct {
	*book
	messages  map[string]im.Message
	reactions map[string][]string
	deleted   map[string]bool
	notices   []im.Notice
}

func (p *page) Speaker(_ context.Context, group, user string) (im.Role, im.Members, error) {
	roles := map[string]im.Role{ann: im.RoleOwner, bob: im.RoleAdmin, cleo: im.RoleMember, dave: im.RoleMember}
	if group != staff || roles[user] == im.RoleNone {
		return im.RoleNone, im.Members{}, nil
	}
	return roles[user], im.Members{
		Users: slices.Sorted(maps.Keys(roles)), Muted: p.muted, Staff: []string{ann, bob},
		MutedUntil: map[string]im.Time{dave: im.TimeOf(time.Now().Add(time.Hour))},
	}, nil
}

func (p *page) RevokeFile(_ context.Context, g im.FileGrant) error {
	p.revoked = append(p.revoked, g)
	return nil
}

func (p *page) Former(_ context.Context, group string, limit int) ([]string, error) {
	return []string{eve}[:min(1, limit)], nil
}

func (p *page) Relations(_ context.Context, pairs []im.Pair) (map[im.Pair]im.Relation, error) {
	all := map[im.Pair]im.Relation{
		im.PairOf(ann, bob):  {Exist: true},
		im.PairOf(ann, cleo): {Exist: true, Blocked: true},
		im.PairOf(ann, dave): {Exist: true, Friends: true},
	}
	out := map[im.Pair]im.Relation{}
	for _, pair := range pairs {
		out[pair] = all[pair]
	}
	return out, nil
}

func (p *page) LockMessage(_ context.Context, c im.Conversation, id string) (im.Message, bool, error) {
	m, ok := p.messages[id]
	return m, ok && m.Conversation == c, nil
}

func (p *page) AmendMessage(_ context.Context, m im.Message) error {
	p.messages[m.ID] = m
	return nil
}

func (p *page) Messages(_ context.Context, c im.Conversation, ids []string) ([]im.Message, error) {
	var out []im.Message
	for _, m := range p.messages {
		if m.Conversation == c && slices.Contains(ids, m.ID) {
			out = append(out, m)
		}
	}
	return out, nil
}

func (p *page) Emoji(_ context.Context, _ im.Conversation, message string) ([]string, error) {
	var all []string
	for _, r := range p.reactions[message] {
		all = append(all, r[16:])
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (p *page) React(_ context.Context, _ im.Conversation, message, user, emoji string, on bool) (bool, error) {
	all, r := p.reactions[message], user+emoji
	if slices.Contains(all, r) == on {
		return false, nil
	}
	if on {
		p.reactions[message] = append(slices.Clone(all), r)
	} else {
		p.reactions[message] = slices.DeleteFunc(slices.Clone(all), func(had string) bool { return had == r })
	}
	return true, nil
}

func (p *page) ClearReactions(_ context.Context, _ im.Conversation, message string) error {
	delete(p.reactions, message)
	return nil
}

func (p *page) DeleteMessages(_ context.Context, user string, _ im.Conversation, messages []string) ([]string, error) {
	var fresh []string
	for _, id := range messages {
		if !p.deleted[user+id] {
			p.deleted[user+id] = true
			fresh = append(fresh, id)
		}
	}
	slices.Sort(fresh)
	return fresh, nil
}

func (p *page) Notify(n ...im.Notice) { p.notices = append(p.notices, n...) }

// said is a message of so long ago.
func said(c im.Conversation, from string, ago time.Duration) im.Message {
	at := im.TimeOf(time.Now().Add(-ago))
	return im.Message{ID: im.NewMessageID(at), Conversation: c, Time: at, From: from, ClientID: "c1", Kind: im.KindText, Text: "hello"}
}

// told returns the data of the only notice of b, which is quiet and of a type.
func told(t *testing.T, b *book, typ string) (im.Notice, map[string]any) {
	t.Helper()
	if len(b.notices) != 1 {
		t.Fatalf("%d notices, want one: %+v", len(b.notices), b.notices)
	}
	n := b.notices[0]
	var data map[string]any
	if err := json.Unmarshal(n.Data, &data); err != nil || n.Type != typ || !n.Quiet {
		t.Errorf("notice %+v, %v; want a quiet one of type %s", n, err, typ)
	}
	return n, data
}
