package away

import (
	"context"
	"fmt"
	"slices"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// chunk is how many recipients are looked up, or noted, in one round trip.
const chunk = 5000

type absences interface {
	// Absences returns which devices may have to be notified of arrivals: not
	// those of users who muted the conversation or blocked the sender, nor those
	// to which a notification of the conversation is due already; of the others
	// those that have subscribed, or all of them.
	Absences(ctx context.Context, arrivals []im.Arrival, all bool) ([]im.Absence, error)
	// NoteNotifications notes that notifications are due to devices that are
	// there once for each conversation, and returns how long it is until the
	// first is; less than 0 if none is that was not before.
	NoteNotifications(ctx context.Context, absences []im.Absence, at im.NotifyTiming) (time.Duration, error)
}

type conns interface {
	// Lookup returns the connections of those users that have any.
	Lookup(ctx context.Context, users []string) (map[string][]im.Conn, error)
}

// noter notes whom messages that came into inboxes have to be brought to the
// notice of. It sends nothing: that a device is offline is not told by one look.
type noter struct {
	store absences
	conns conns
	at    im.NotifyTiming
	all   bool // devices that have not subscribed are notified, too
	subs  *subscribers
	on    bool // there is a way to notify any
	due   func(in time.Duration)
}

// said is what is read of a message.
type said struct {
	ID           string          `json:"id"`
	Conversation im.Conversation `json:"conversation"`
	From         string          `json:"from"`
	Kind         string          `json:"kind"`
	Recalled     bool            `json:"recalled"`
}

// note handles events of messages that came into inboxes. However many there
// are, it asks the database and Redis once each for thousands of recipients.
func (n *noter) note(ctx context.Context, events []event.Event) error {
	if !n.on {
		return nil
	}
	failed := make(fn.Each, len(events))
	arrivals := newArrivals(im.TimeOf(time.Now().Add(-n.at.TTL)))
	for i := range events {
		failed[i] = arrivals.add(&events[i])
	}
	if err := n.noteAll(ctx, arrivals.list); err != nil {
		return fmt.Errorf("noting who is away: %w", err)
	}
	return failed.Or()
}

func (n *noter) noteAll(ctx context.Context, arrivals []im.Arrival) error {
	type device struct {
		session      string
		conversation im.Conversation
	}
	seen := make(map[device]bool)
	for part := range slices.Chunk(arrivals, chunk) {
		part, err := n.notifiable(ctx, part)
		if err != nil {
			return err
		}
		if len(part) == 0 {
			continue
		}
		found, err := n.store.Absences(ctx, part, n.all)
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(a im.Absence) bool {
			d := device{a.Session, a.Conversation}
			was := seen[d]
			seen[d] = true
			return was
		})
		if found, err = offline(ctx, n.conns, found, func(a im.Absence) (string, string) { return a.User, a.Session }); err != nil {
			return err
		}
		for part := range slices.Chunk(found, chunk) {
			first, err := n.store.NoteNotifications(ctx, part, n.at)
			if err != nil {
				return err
			}
			if first >= 0 {
				n.due(first)
			}
		}
	}
	return nil
}

// notifiable returns the arrivals at users of whom a device may be notified.
func (n *noter) notifiable(ctx context.Context, arrivals []im.Arrival) ([]im.Arrival, error) {
	if n.all {
		return arrivals, nil
	}
	users := make([]string, len(arrivals))
	for i, a := range arrivals {
		users[i] = a.User
	}
	slices.Sort(users)
	have, err := n.subs.among(ctx, slices.Compact(users))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(arrivals), func(a im.Arrival) bool { return !have[a.User] }), nil
}

// offline returns those of devices that have no connection. Each of a user's
// devices is looked at by itself: one at hand does not silence another.
func offline[T any](ctx context.Context, conns conns, devices []T, of func(T) (user, session string)) ([]T, error) {
	if len(devices) == 0 {
		return nil, nil
	}
	asked := make(map[string]bool)
	var users []string
	for _, d := range devices {
		if user, _ := of(d); !asked[user] {
			asked[user] = true
			users = append(users, user)
		}
	}
	held, err := conns.Lookup(ctx, users)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(devices, func(d T) bool {
		user, session := of(d)
		return slices.ContainsFunc(held[user], func(c im.Conn) bool { return c.Session == session })
	}), nil
}

// arrivals are what has come for whom: for one user in one conversation from
// one sender, the first message.
type arrivals struct {
	after im.Time // what is older is not news to anybody
	index map[im.Arrival]int
	list  []im.Arrival
}

func newArrivals(after im.Time) *arrivals {
	return &arrivals{after: after, index: make(map[im.Arrival]int)}
}

// add adds what an event says has come, as far as it is unread by whom it came
// for: no notice, nothing of their own, nothing that was recalled.
func (a *arrivals) add(e *event.Event) error {
	var data struct {
		Message said              `json:"message"`
		Entries []event.Recipient `json:"entries"`
	}
	if err := jsonv2.Unmarshal(e.Data, &data); err != nil {
		return im.Wrap(im.Invalid, err, "the data of the event does not tell of a message in inboxes")
	}
	m := data.Message
	at, ok := im.TimeOfMessageID(m.ID)
	if !ok || m.Conversation.Check() != nil || !im.IsID(m.From) {
		return im.Errorf(im.Invalid, "the event holds no message")
	}
	if at < a.after {
		return nil
	}
	for _, r := range data.Entries {
		if !im.IsID(r.User) {
			return im.Errorf(im.Invalid, "%.40q is no user", r.User)
		}
		if im.ClassOf(m.Kind, m.From, r.User, m.Recalled, false) != im.ClassUnread {
			continue
		}
		key := im.Arrival{User: r.User, Conversation: m.Conversation, From: m.From}
		i, ok := a.index[key]
		if !ok {
			a.index[key] = len(a.list)
			key.Message = m.ID
			a.list = append(a.list, key)
		} else if m.ID < a.list[i].Message {
			a.list[i].Message = m.ID
		}
	}
	return nil
}
