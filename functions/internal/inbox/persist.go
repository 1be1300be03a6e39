package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

const (
	// maxMessage is the most bytes of a message in JSON: MaxText, each byte of
	// which JSON may write as six, and as much again for the rest.
	maxMessage = 256 << 10

	// maxRows is how many entries are prepared at a time. A message to a large
	// group may be more by itself.
	maxRows = 8000
)

// members knows the members of groups.
type members interface {
	// Members returns the users in a group; NotFound if there is no such group.
	Members(ctx context.Context, group string) ([]string, error)
}

// A publisher hands events over for good.
type publisher interface {
	// Publish returns when all events are safe. If it fails, some may be.
	Publish(ctx context.Context, topic string, events []event.Event) error
}

// A persister puts accepted messages into inboxes, and says where they stand.
type persister struct {
	appender *appender
	members  members
	publish  publisher
	seal     func(*event.Event)
	log      *slog.Logger
	rows     int // most entries prepared at a time
}

func newPersister(s store, h hints, m members, p publisher, seal func(*event.Event), log *slog.Logger) *persister {
	return &persister{
		appender: newAppender(s, h, log),
		members:  m,
		publish:  p,
		seal:     seal,
		log:      log,
		rows:     maxRows,
	}
}

// A job is one accepted message on its way into inboxes.
type job struct {
	event        int // its place in the batch
	id           string
	conversation im.Conversation
	from         string
	message      json.RawMessage // passed on as it came
	recipients   []string        // sorted, each once
	traceParent  string
}

// persist appends each message to the inbox of its sender and of each
// recipient, and publishes where it stands. A message that cannot be kept is
// refused by itself. At the first failure that may pass, the messages from
// there on fail with it, so that they come again in their order.
func (p *persister) persist(ctx context.Context, events []event.Event) error {
	each := make(fn.Each, len(events))
	groups := make(map[string][]string)
	var jobs []job
	rows := 0
	flush := func() error {
		err := p.flush(ctx, jobs, each)
		jobs, rows = jobs[:0], 0
		return err
	}
	for i := range events {
		j, err := decode(&events[i])
		j.event = i
		if err == nil {
			err = p.address(ctx, &j, groups)
		}
		switch {
		case err != nil && im.KindOf(err).Transient():
			failed := flush()
			return from(each, i, errors.Join(failed, err))
		case err != nil:
			each[i] = err
			continue
		}
		if len(jobs) > 0 && rows+len(j.recipients) > p.rows {
			if err := flush(); err != nil {
				return from(each, i, err)
			}
		}
		jobs = append(jobs, j)
		rows += len(j.recipients)
	}
	if err := flush(); err != nil {
		return from(each, len(events), err)
	}
	return each.Or()
}

// from fails each event from the i-th on with err.
func from(each fn.Each, i int, err error) error {
	for ; i < len(each); i++ {
		each[i] = err
	}
	return each
}

// flush appends and publishes jobs. Those that failed have their error in
// each; if it returns one, it is transient, and nothing after them should be
// tried.
func (p *persister) flush(ctx context.Context, jobs []job, each fn.Each) error {
	err := p.deliver(ctx, jobs)
	switch {
	case err == nil:
		return nil
	case im.KindOf(err).Transient():
		for _, j := range jobs {
			each[j.event] = err
		}
		return err
	case len(jobs) == 1:
		each[jobs[0].event] = err
		return nil
	}
	// One of them can never succeed: only it may be given up.
	for i := range jobs {
		if err := p.flush(ctx, jobs[i:i+1], each); err != nil {
			for _, j := range jobs[i:] {
				each[j.event] = err
			}
			return err
		}
	}
	return nil
}

// deliver appends and publishes jobs, all of them or not all.
func (p *persister) deliver(ctx context.Context, jobs []job) error {
	var entries []im.Entry
	for _, j := range jobs {
		for _, user := range j.recipients {
			entries = append(entries, im.Entry{User: user, ID: j.id, Message: j.message})
		}
	}
	seqs, err := p.appender.append(ctx, entries)
	if err != nil {
		return err
	}
	var events []event.Event
	for _, j := range jobs {
		events = append(events, deliveries(j, seqs, p.seal)...)
	}
	if err := p.publish.Publish(ctx, event.TopicDeliveries, events); err != nil {
		return fmt.Errorf("publishing deliveries: %w", err)
	}
	return nil
}

// decode reads an accepted message and checks all that could keep it, and what
// is stored together with it, from being stored.
func decode(e *event.Event) (job, error) {
	var accepted struct {
		Message    json.RawMessage `json:"message"`
		Recipients []string        `json:"recipients"`
	}
	// What is not UTF-8 is not JSON to this reader.
	if err := jsonv2.Unmarshal(e.Data, &accepted); err != nil {
		return job{}, im.Wrap(im.Invalid, err, "the data is not that of an accepted message")
	}
	var head struct {
		ID           string          `json:"id"`
		Conversation im.Conversation `json:"conversation"`
		From         string          `json:"from"`
	}
	if err := jsonv2.Unmarshal(accepted.Message, &head); err != nil {
		return job{}, im.Wrap(im.Invalid, err, "the data holds no message")
	}
	j := job{
		id: head.ID, conversation: head.Conversation, from: head.From,
		message: accepted.Message, recipients: accepted.Recipients, traceParent: e.TraceParent,
	}
	switch {
	case len(j.message) > maxMessage:
		return j, im.Errorf(im.TooLarge, "the message has %d bytes; %d are the most", len(j.message), maxMessage)
	case !im.IsMessageID(j.id):
		return j, im.Errorf(im.Invalid, "%.40q is not the id of a message", j.id)
	case !im.IsID(j.from):
		return j, im.Errorf(im.Invalid, "%.40q, who sent the message, is not the id of a user", j.from)
	case len(j.recipients) > im.MaxGroup+1: // a notice may go to one who has just left
		return j, im.Errorf(im.Invalid, "the message has %d recipients; %d are the most", len(j.recipients), im.MaxGroup+1)
	}
	for _, user := range j.recipients {
		if !im.IsID(user) {
			return j, im.Errorf(im.Invalid, "%.40q, a recipient, is not the id of a user", user)
		}
	}
	return j, j.conversation.Check()
}

// address completes the recipients of j: those it was sent with, else those of
// its conversation, and always its sender. The sender alone is left of a group
// that does not exist any more: the message was accepted, so it has to end in
// an inbox, and whose is known of nobody else.
func (p *persister) address(ctx context.Context, j *job, groups map[string][]string) error {
	to := j.recipients
	if len(to) == 0 {
		to = im.Message{Conversation: j.conversation}.Recipients()
	}
	if group := j.conversation.Group(); len(to) == 0 && group != "" {
		var known bool
		if to, known = groups[group]; !known {
			var err error
			to, err = p.members.Members(ctx, group)
			switch {
			case errors.Is(err, im.NotFound):
				p.log.WarnContext(ctx, "the group is gone: the message is the sender's alone", "message", j.id, "conversation", string(j.conversation))
			case err != nil:
				return unavailable(fmt.Errorf("reading the members of %s: %w", j.conversation, err))
			}
			groups[group] = to
		}
	}
	to = append(slices.Clip(to), j.from) // not into what others hold
	slices.Sort(to)
	j.recipients = slices.Compact(to)
	return nil
}

// unavailable makes err transient, whatever a dependency called it: that it
// could not answer is no fault of the message.
func unavailable(err error) error {
	if im.KindOf(err).Transient() {
		return err
	}
	return im.Wrap(im.Unavailable, err, "the members of the group could not be read; try again")
}
