package away

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/imtest"
)

// counted is a store and a presence that count how often they are asked.
type counted struct {
	asked  map[string]int
	online map[string]bool // by session
	noted  []im.Absence
	err    error
}

func (c *counted) Absences(_ context.Context, arrivals []im.Arrival, _ bool) (out []im.Absence, err error) {
	c.asked["Absences"]++
	for _, a := range arrivals {
		out = append(out, im.Absence{User: a.User, Session: "s" + a.User, Conversation: a.Conversation, Message: a.Message})
	}
	return out, c.err
}

func (c *counted) NoteNotifications(_ context.Context, absences []im.Absence, _ im.NotifyTiming) (time.Duration, error) {
	c.asked["NoteNotifications"]++
	c.noted = append(c.noted, absences...)
	return time.Second, nil
}

func (c *counted) Lookup(_ context.Context, users []string) (map[string][]im.Conn, error) {
	c.asked["Lookup"]++
	out := make(map[string][]im.Conn)
	for _, u := range users {
		if c.online["s"+u] {
			out[u] = []im.Conn{{User: u, Session: "s" + u}, {User: u, Session: "another"}}
		}
	}
	return out, nil
}

func appendedEvent(t testing.TB, m im.Message, to ...string) event.Event {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	a := event.Appended{Message: b}
	for _, u := range to {
		a.Entries = append(a.Entries, event.Recipient{User: u, Seq: 1})
	}
	e, err := event.New(event.InboxAppended, "test", string(m.Conversation), a)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Everybody has subscribed.
func (c *counted) Subscribers(_ context.Context, users []string) ([]string, error) { return users, nil }

func (c *counted) SubscribedMarks(_ context.Context, users []string) ([]string, error) {
	return make([]string, len(users)), nil
}

// However many messages and senders, a group of 2,000 costs one round trip for
// each 5,000 of user and sender, and is noted once for each device.
func TestABatchCostsFewRoundTrips(t *testing.T) {
	users := make([]string, 2000)
	for i := range users {
		users[i] = im.NewID()
	}
	group := im.Group(im.NewID())
	var events []event.Event
	first, now := "", im.Now()
	for i := range 40 {
		m := im.Message{ID: im.NewMessageID(now - im.Time(i)), Conversation: group, From: users[i%2], Kind: im.KindText, Text: fmt.Sprint(i)}
		first = m.ID // the last to come was the first to be said
		for part := range slices.Chunk(users, event.MaxRecipients) {
			events = append(events, appendedEvent(t, m, part...))
		}
	}
	c := &counted{asked: make(map[string]int), online: map[string]bool{"s" + users[7]: true}}
	due := 0
	n := &noter{store: c, conns: c, subs: newSubscribers(c, c), at: im.NotifyTiming{TTL: time.Hour}, on: true, due: func(time.Duration) { due++ }}
	if err := n.note(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if c.asked["Absences"] != 1 || c.asked["Lookup"] != 1 || c.asked["NoteNotifications"] != 1 || due != 1 {
		t.Errorf("asked %v", c.asked)
	}
	if len(c.noted) != 1999 || slices.ContainsFunc(c.noted, func(a im.Absence) bool { return a.User == users[7] || a.Message < first }) {
		t.Errorf("noted %d", len(c.noted))
	}
}

func TestEventsThatMakeNoSenseFailByThemselves(t *testing.T) {
	ann, bob := im.NewID(), im.NewID()
	good := im.Message{ID: im.NewMessageID(im.Now()), Conversation: im.Direct(ann, bob), From: ann, Kind: im.KindText, Text: "hi"}
	bad := []event.Event{
		{Data: []byte(`not JSON`)},
		{Data: []byte(`{}`)},
		{Data: []byte(`{"message":{"id":"1"},"entries":[]}`)},
		appendedEvent(t, good, "nobody"),
		appendedEvent(t, im.Message{ID: good.ID, From: ann, Kind: im.KindText}, bob),
	}
	c := &counted{asked: make(map[string]int)}
	n := &noter{store: c, conns: c, subs: newSubscribers(c, c), at: im.NotifyTiming{TTL: time.Hour}, on: true, due: func(time.Duration) {}}
	each, ok := n.note(t.Context(), append(slices.Clone(bad), appendedEvent(t, good, ann, bob))).(fn.Each)
	if !ok || len(each) != len(bad)+1 {
		t.Fatalf("error %v", each)
	}
	for i, err := range each {
		if i < len(bad) && im.KindOf(err) != im.Invalid || i == len(bad) && err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if len(c.noted) != 1 || c.noted[0].User != bob {
		t.Errorf("noted %v", c.noted)
	}
	c.err = im.Errorf(im.Unavailable, "down")
	if err := n.note(t.Context(), []event.Event{appendedEvent(t, good, bob)}); im.KindOf(err) != im.Unavailable {
		t.Errorf("with the database down: %v", err)
	}
}

func TestAnAlarmRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rung []time.Duration
		begin := time.Now()
		next := []time.Duration{time.Minute, 0} // then nothing
		fail := false
		a := &alarm{
			ring: func(context.Context) error {
				rung = append(rung, time.Since(begin))
				if fail {
					fail = false
					return im.Errorf(im.Unavailable, "down")
				}
				return nil
			},
			next: func(context.Context) (time.Duration, bool, error) {
				if len(next) == 0 {
					return 0, false, nil
				}
				in := next[0]
				next = next[1:]
				return in, true, nil
			},
			log: imtest.Log(t),
		}
		a.start()
		a.set(10 * time.Second)
		a.set(5 * time.Second)
		a.set(20 * time.Second)
		time.Sleep(time.Hour)
		synctest.Wait()
		fail = true
		a.set(time.Second)
		time.Sleep(time.Hour)
		if err := a.close(); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{5 * time.Second, 65 * time.Second, 65*time.Second + ringSpacing, time.Hour + time.Second, time.Hour + time.Second + ringAgain}
		if !slices.Equal(rung, want) {
			t.Errorf("it rang at %v, want %v", rung, want)
		}
	})
}
