package away

import (
	"context"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"github.com/tidings-im/tidings/shared/im"
)

const (
	mostCounted = 100 // unread messages: one more than is told
	maxShown    = 240 // characters of what a message says
	readAtOnce  = 8   // users whose inboxes are read at a time
)

type inboxes interface {
	// Unread returns how many unread entries of a user follow a message, in
	// each conversation; it counts to most.
	Unread(ctx context.Context, user string, after map[im.Conversation]string, most int) (map[im.Conversation]int, error)
	// Newest returns the id of the newest message that is more than quiet.
	Newest(ctx context.Context, user string, c im.Conversation) (string, error)
	// Get returns those of entries that are there.
	Get(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Entry, error)
}

type bylines interface {
	// Bylines returns what may be said of who sent each of arrivals, in order.
	Bylines(ctx context.Context, arrivals []im.Arrival) ([]im.Byline, error)
}

// reader reads what there is to tell: from the inboxes, as it is now. What was
// read, recalled or deleted meanwhile is not told of.
type reader struct {
	inbox  inboxes
	people bylines
}

// count sets how many unread messages each note is of.
func (r *reader) count(ctx context.Context, notes []*note) error {
	of := make(map[string][]*note)
	for _, n := range notes {
		of[n.User] = append(of[n.User], n)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readAtOnce)
	for user, notes := range of {
		group.Go(func() error {
			after := make(map[im.Conversation]string, len(notes))
			for _, n := range notes {
				after[n.Conversation] = n.Read
			}
			unread, err := r.inbox.Unread(ctx, user, after, mostCounted)
			for _, n := range notes {
				n.unread = unread[n.Conversation]
			}
			return err
		})
	}
	return group.Wait()
}

// A payload is what a browser is told.
type payload struct {
	Type         string          `json:"type"` // "message"
	Conversation im.Conversation `json:"conversation"`
	Count        int             `json:"count"` // unread messages there; 100 is 100 or more

	// If the subscription allows text, and the newest is from somebody:
	Message string `json:"message,omitempty"` // id
	From    string `json:"from,omitempty"`
	Name    string `json:"name,omitempty"`  // of the sender
	Group   string `json:"group,omitempty"` // name of the group
	Kind    string `json:"kind,omitempty"`
	Text    string `json:"text,omitempty"` // its beginning
}

// write sets the payloads of notes.
func (r *reader) write(ctx context.Context, notes []*note) error {
	shown, err := r.newest(ctx, notes)
	if err != nil {
		return err
	}
	for _, n := range notes {
		p := payload{Type: "message", Conversation: n.Conversation, Count: n.unread}
		if s, ok := shown[keyOf(n)]; ok && n.Push.ShowText {
			p.Message, p.From, p.Kind, p.Text = s.ID, s.From, s.Kind, beginning(s.Text)
			p.Name, p.Group = s.Name, s.Group
		}
		if n.payload, err = im.JSON(p); err != nil {
			return im.Wrap(im.Internal, err, "writing a notification")
		}
	}
	return nil
}

// shown is a message, and who sent it.
type shown struct {
	im.Message
	im.Byline
}

// keyOf names the conversation of a user that n is of.
func keyOf(n *note) im.EntryKey {
	return im.EntryKey{User: n.User, Conversation: n.Conversation}
}

// newest returns the newest message of each conversation of a user of which a
// note may hold text: if it is from somebody else whom the user has not
// blocked.
func (r *reader) newest(ctx context.Context, notes []*note) (map[im.EntryKey]shown, error) {
	ids := make(map[im.EntryKey]string)
	for _, n := range notes {
		if n.Push.ShowText {
			ids[keyOf(n)] = ""
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	var keys []im.EntryKey
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(readAtOnce)
	for k := range ids {
		group.Go(func() error {
			id, err := r.inbox.Newest(reading, k.User, k.Conversation)
			if err != nil || id == "" {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			k.ID = id
			keys = append(keys, k)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	entries, err := r.inbox.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	var messages []im.Message
	var arrivals []im.Arrival
	for k, e := range entries {
		var m im.Message
		if e.Class != im.ClassUnread || jsonv2.Unmarshal(e.Message, &m) != nil {
			continue
		}
		messages = append(messages, m)
		arrivals = append(arrivals, im.Arrival{User: k.User, Conversation: k.Conversation, From: m.From, Message: m.ID})
	}
	if len(messages) == 0 {
		return nil, nil
	}
	by, err := r.people.Bylines(ctx, arrivals)
	if err != nil {
		return nil, err
	}
	all := make(map[im.EntryKey]shown, len(messages))
	for i, m := range messages {
		if i < len(by) && !by[i].Blocked {
			all[im.EntryKey{User: arrivals[i].User, Conversation: m.Conversation}] = shown{m, by[i]}
		}
	}
	return all, nil
}

// beginning returns as much of a text as a notification holds.
func beginning(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShown {
			return s[:i] + "…"
		}
	}
	return s
}
