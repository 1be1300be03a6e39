package push

import (
	"context"
	"encoding/json"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// What one signal may come to, for nobody is asked whether they want it: frames
// with data go to small groups only, as calls are, and what is typed is not
// told to a crowd.
const (
	maxCall   = 32  // members of a group that gets signals with data
	maxTyping = 500 // members of a group that gets small ones
	small     = 512 // bytes of a frame
)

type relations interface {
	// Relations returns the relation of each pair.
	Relations(context.Context, []im.Pair) (map[im.Pair]im.Relation, error)
}

type members interface {
	// Of returns the members of those groups that exist.
	Of(ctx context.Context, groups []string) (map[string]im.Members, error)
}

// recent is how many of the last messages of a conversation are looked at for
// one of who is to get a signal.
const recent = 200

// writers know who has written where.
type writers interface {
	// HasWritten reports whether a user wrote one of the last messages of a
	// conversation, of so many.
	HasWritten(ctx context.Context, c im.Conversation, user string, of int) (bool, error)
}

// acquaintance remembers who has written to whom.
type acquaintance struct {
	writers writers
	known   *lru.Cache[string, struct{}]
}

func newAcquaintance(w writers) acquaintance {
	known, _ := lru.New[string, struct{}](4096) // fails only for a size below 1
	return acquaintance{w, known}
}

// mayCall reports why from may not send data to the other one in a direct
// conversation: they are no friends, and the other has not written to them. So
// what strangers send by themselves is messages, which one can block.
func (a acquaintance) mayCall(ctx context.Context, from string, c im.Conversation, r im.Relation) error {
	if r.Friends {
		return nil
	}
	peer := c.Peer(from)
	key := peer + string(c)
	if a.known.Contains(key) {
		return nil
	}
	has, err := a.writers.HasWritten(ctx, c, peer, recent)
	switch {
	case err != nil:
		return fmt.Errorf("asking whether %s has written in %s: %w", peer, c, err)
	case !has: // they may answer any moment
		return im.Errorf(im.Denied, "this user takes signals with data from friends, and from people they have written to")
	}
	a.known.Add(key, struct{}{})
	return nil
}

// hasData reports whether a frame is more than that somebody types.
func hasData(frame json.RawMessage) bool {
	var f struct {
		Data json.RawMessage `json:"data"`
	}
	return json.Unmarshal(frame, &f) != nil || len(f.Data) > 0
}

// signal passes frames on to the others in a conversation, and to the other
// devices of the sender, if the sender may write there. Signals that cannot be
// delivered are not kept for later.
func signal(to *delivery, relations relations, members members, known acquaintance, policy string) func(context.Context, []event.Event) error {
	return func(ctx context.Context, events []event.Event) error {
		failed := make(fn.Each, len(events))
		signals := make([]event.Signalled, len(events))
		var pairs []im.Pair
		var groups []string
		for i := range events {
			if signals[i], failed[i] = signalled(&events[i]); failed[i] != nil {
				continue
			}
			if group := signals[i].Conversation.Group(); group != "" {
				groups = append(groups, group)
			} else {
				pairs = append(pairs, im.PairOf(signals[i].Conversation.Users()))
			}
		}
		related, err := relations.Relations(ctx, pairs)
		if err != nil {
			return fmt.Errorf("asking who may signal to whom: %w", err)
		}
		of, err := members.Of(ctx, groups)
		if err != nil {
			return fmt.Errorf("asking who is in groups: %w", err)
		}
		var pushes []push
		for i, s := range signals {
			if failed[i] != nil {
				continue
			}
			var others []event.Recipient
			if group := s.Conversation.Group(); group != "" {
				others, failed[i] = inGroup(s.From, of[group])
				if n := len(of[group].Users); failed[i] == nil && (n > maxTyping || n > maxCall && len(s.Frame) > small) {
					failed[i] = im.Errorf(im.TooLarge, "the group has too many members, %d, for this signal", n)
				}
			} else {
				others = []event.Recipient{{User: s.Conversation.Peer(s.From)}}
				r := related[im.PairOf(s.Conversation.Users())]
				if failed[i] = r.MayWrite(policy); failed[i] == nil && hasData(s.Frame) {
					failed[i] = known.mayCall(ctx, s.From, s.Conversation, r)
				}
			}
			if failed[i] == nil {
				pushes = append(pushes, pushesOf(&events[i], s, others)...)
			}
		}
		to.deliver(ctx, pushes)
		return failed.Or()
	}
}

// signalled reads a signal, and refuses what can be seen to be wrong with it.
func signalled(e *event.Event) (event.Signalled, error) {
	var s event.Signalled
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return s, im.Wrap(im.Invalid, err, "the data of the event is not a signal")
	}
	if !im.IsID(s.From) || im.CheckDevice(s.Device) != nil || len(s.Frame) == 0 {
		return s, im.Errorf(im.Invalid, "the signal does not say from whom, from which device or what")
	}
	if err := s.Conversation.Check(); err != nil {
		return s, err
	}
	if s.Conversation.Group() == "" && s.Conversation.Peer(s.From) == "" {
		return s, im.Errorf(im.Denied, "you are not in this conversation")
	}
	return s, nil
}

// inGroup returns the other members of a group, if from may speak there.
func inGroup(from string, members im.Members) ([]event.Recipient, error) {
	if err := members.MaySpeak(from, im.Now()); err != nil {
		return nil, err
	}
	others := make([]event.Recipient, 0, len(members.Users))
	for _, u := range members.Users {
		if u != from {
			others = append(others, event.Recipient{User: u})
		}
	}
	return others, nil
}

// pushesOf returns what is to be written for a signal: to the others, and to
// the sender except for the device it comes from. They are two, because two
// users may call their devices the same.
func pushesOf(e *event.Event, s event.Signalled, others []event.Recipient) []push {
	device, _ := im.JSON(s.Device) // a string can always be written
	p := push{
		id:          e.ID,
		subject:     string(s.Conversation),
		traceParent: e.TraceParent,
		head:        fmt.Appendf(nil, `{"frame":%s,"to":[`, s.Frame),
		to:          others,
	}
	own := p
	own.id += ".own"
	own.head = fmt.Appendf(nil, `{"frame":%s,"except":%s,"to":[`, s.Frame, device)
	own.to = []event.Recipient{{User: s.From}}
	return []push{p, own}
}
