package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// source names this function in the events that it writes.
const source = "/functions/chat-ingest"

// maxAhead is by how much the clock of a gateway may be ahead of this one.
const maxAhead = time.Minute

type places interface {
	// Place gives each message its place, or the one that it had before.
	Place(context.Context, []im.PlaceRequest) []im.PlaceResult
}

type budget interface {
	// Charge takes from the budgets of users what they are about to cost, and
	// returns an error for each. Overloaded: there is not as much left.
	Charge(context.Context, []im.Charge) []error
}

type log interface {
	// Enqueue returns when events have their turn in the order of writing.
	// What it returns waits, and returns an error for each, in order, nil where
	// it is durable.
	Enqueue(ctx context.Context, topic string, events []event.Event) (wait func() []error)
}

type ingest struct {
	guard  guard
	files  fileStore
	budget budget
	places places
	log    log
	seal   *event.Keyring
	turns  turns
	window time.Duration // for which a place is kept
	now    func() im.Time
}

// message is one message on its way through a batch. Once err is set, nothing
// more is done with it.
type message struct {
	event.Submitted
	conversation im.Conversation
	traceParent  string
	recipients   int           // in a group
	slow         time.Duration // that its sender waits between two
	place        im.Place
	data         json.RawMessage // of its file
	err          error
}

// batch takes messages in, and answers for each whether it is accepted. A
// message is accepted when the log has acknowledged it, not before. One that
// was accepted before is written again at its first place: the first try may
// have died before the write, and everyone who reads the log knows repeats.
//
// Each sender's own order is kept by the places, which are given in the order
// of the batch, in one step for each conversation. So a message whose sender
// and conversation are those of one that failed for a while is answered by
// what became of itself: if the earlier one has no place yet, nor has it, for
// what is asked before placing is the same for both; if the earlier one was
// placed but not written, it comes again at its place, before this one.
func (in *ingest) batch(ctx context.Context, events []event.Event) []fn.Reply[event.Placed] {
	messages := make([]*message, len(events))
	for i := range events {
		messages[i] = in.read(&events[i])
	}
	return in.take(ctx, messages)
}

// take is batch, of messages that were read.
func (in *ingest) take(ctx context.Context, messages []*message) []fn.Reply[event.Placed] {
	in.guard.check(ctx, messages)
	in.look(ctx, messages)
	in.charge(ctx, messages)

	// Files are granted while it is their conversations' turn, which may take
	// long. So the others go first.
	plain, carrying := apart(messages)
	durable := in.placeInTurn(ctx, plain)
	in.placeInTurn(ctx, carrying)()
	durable()

	replies := make([]fn.Reply[event.Placed], len(messages))
	for i, m := range messages {
		if m.err != nil {
			replies[i].Err = m.err
			continue
		}
		replies[i].Value = event.Placed{ID: m.place.ID, Conversation: m.conversation, Time: m.place.Time}
	}
	return replies
}

// charge has the senders of messages to groups pay for them, by their
// recipients. Two messages of a sender to a group cost the same, so that when
// one is refused those after it in the batch are, too. What a repeat costs its
// sender is lost; the group, which pays with the place, does not pay for it.
// A direct message has one recipient: how often one sends bounds these.
func (in *ingest) charge(ctx context.Context, messages []*message) {
	var charges []im.Charge
	var of []*message
	for _, m := range messages {
		if m.err == nil && m.recipients > 0 {
			of = append(of, m)
			charges = append(charges, im.Charge{User: m.From, Recipients: m.recipients})
		}
	}
	if len(charges) == 0 {
		return
	}
	for i, err := range in.budget.Charge(ctx, charges) {
		of[i].err = err
	}
}

// apart returns the messages of conversations in which no message carries a file,
// and the others, each in their order.
func apart(messages []*message) (plain, carrying []*message) {
	files := map[im.Conversation]bool{}
	for _, m := range messages {
		if m.err == nil && m.File != "" {
			files[m.conversation] = true
		}
	}
	if len(files) == 0 {
		return messages, nil
	}
	for _, m := range messages {
		if files[m.conversation] {
			carrying = append(carrying, m)
		} else {
			plain = append(plain, m)
		}
	}
	return plain, carrying
}

// placeInTurn places messages and hands them to the log, and returns what waits
// until they are durable. As far as one process can see to it, messages of a
// conversation are written in the order of their places: no other batch gets
// places in these conversations until this one has its turn to be written.
func (in *ingest) placeInTurn(ctx context.Context, messages []*message) (wait func()) {
	defer in.turns.take(messages)()
	in.place(ctx, messages)
	in.grant(ctx, messages)
	return in.publish(ctx, messages)
}

// read decodes a message and refuses what can be seen to be wrong with it.
func (in *ingest) read(e *event.Event) *message {
	m := &message{traceParent: e.TraceParent}
	if err := jsonv2.Unmarshal(e.Data, &m.Submitted); err != nil {
		m.err = im.Wrap(im.Invalid, err, "the data of the event is not a submitted message")
		return m
	}
	if !im.IsID(m.From) {
		m.err = im.Errorf(im.Invalid, "the event does not say who sent the message")
		return m
	}
	if m.address(); m.err == nil {
		m.err = in.checkAge(m.At)
	}
	return m
}

// address refuses what can be seen to be wrong with a draft, and finds its
// conversation.
func (m *message) address() {
	if m.err = m.Check(m.From); m.err == nil {
		m.conversation, m.err = m.Draft.Conversation(m.From)
	}
}

// checkAge refuses what may have been placed so long ago that the place is
// forgotten: who replays a captured event makes no second message of it.
func (in *ingest) checkAge(at im.Time) error {
	switch age := in.now().Std().Sub(at.Std()); {
	case age > in.window:
		return im.Errorf(im.Invalid, "the message was submitted too long ago")
	case age < -maxAhead:
		return im.Errorf(im.Invalid, "the message was submitted in the future: a clock is wrong")
	}
	return nil
}

func (in *ingest) place(ctx context.Context, messages []*message) {
	var reqs []im.PlaceRequest
	var of []*message
	for _, m := range messages {
		if m.err == nil {
			of = append(of, m)
			reqs = append(reqs, im.PlaceRequest{
				Conversation: m.conversation,
				From:         m.From,
				ClientID:     m.ClientID,
				Digest:       m.Digest(m.conversation),
				Recipients:   m.recipients,
				Slow:         m.slow,
			})
		}
	}
	if len(reqs) == 0 {
		return
	}
	if ctx.Err() != nil { // waiting for a turn took all the time there was
		for _, m := range of {
			m.err = im.Wrap(im.Unavailable, ctx.Err(), "too many messages at once: try again")
		}
		return
	}
	for i, r := range in.places.Place(ctx, reqs) {
		of[i].place, of[i].err = r.Place, r.Err
	}
}

// publish hands placed messages to the log, and returns what waits until it is
// known which of them are durable.
func (in *ingest) publish(ctx context.Context, messages []*message) (wait func()) {
	var events []event.Event
	var of []*message
	for _, m := range messages {
		if m.err != nil {
			continue
		}
		var e event.Event
		if e, m.err = in.accepted(m); m.err == nil {
			of = append(of, m)
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return func() {}
	}
	acknowledged := in.log.Enqueue(ctx, event.TopicMessages, events)
	return func() {
		for i, err := range acknowledged() {
			if err != nil {
				of[i].err = fmt.Errorf("publishing message %s: %w", of[i].place.ID, err)
			}
		}
	}
}

// accepted returns the event of a placed message. It is the same, but for the
// trace, however often the message is sent.
func (in *ingest) accepted(m *message) (event.Event, error) {
	msg := im.Message{
		ID:           m.place.ID,
		Conversation: m.conversation,
		Time:         m.place.Time,
		From:         m.From,
		ClientID:     m.ClientID,
		Kind:         m.KindOf(),
		Text:         m.Text,
		ReplyTo:      m.ReplyTo,
		Data:         m.data,
	}
	e, err := event.New(event.MessageAccepted, source, string(m.conversation), event.Accepted{Message: msg, Recipients: msg.Recipients()})
	if err != nil {
		return e, err
	}
	e.ID, e.Time, e.TraceParent = msg.ID, msg.Time, m.traceParent
	in.seal.Sign(&e)
	return e, nil
}
