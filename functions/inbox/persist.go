package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
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

	// maxWork is how many bytes of entries a batch may come to, beyond its first
	// message: about a second's work. The rest comes again, so that who sends
	// batches can have other conversations go before it.
	maxWork = 16 << 20

	// rowWork is what an entry costs beside the bytes of its message, in bytes.
	rowWork = 512

	// maxRecipients is the most users that a message goes to: a group, and who
	// has just left it.
	maxRecipients = im.MaxGroup + 100
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
	history  history
	publish  publisher
	seal     func(*event.Event)
	log      *slog.Logger
	rows     int // most entries prepared at a time
	work     int // most bytes of entries in a batch
}

func newPersister(s store, h hints, m members, past history, p publisher, seal func(*event.Event), log *slog.Logger) *persister {
	return &persister{
		appender: newAppender(s, h, log),
		members:  m,
		history:  past,
		publish:  p,
		seal:     seal,
		log:      log,
		rows:     maxRows,
		work:     maxWork,
	}
}

// A job is one accepted message on its way into inboxes.
type job struct {
	event int // its place in the batch
	content
	recipients  []string // sorted, each once
	former      []string // whose inboxes are amended only
	quiet       bool
	amended     []content
	traceParent string

	// Of an old message, as far as anything became of it:
	now     *content        // what it is to everybody
	deleted map[string]bool // users who have deleted it for themselves
	stub    *content        // what it is to them
}

// A content is a message, and what has to be known of it.
type content struct {
	json         json.RawMessage // passed on as it came
	id           string
	conversation im.Conversation
	from         string
	kind         string
	recalled     bool
	revision     int
}

// entry returns c as an entry of a user, without a seq.
func (c *content) entry(user string, quiet bool) im.Entry {
	return im.Entry{
		User: user, ID: c.id, Message: c.json,
		Conversation: c.conversation, Class: im.ClassOf(c.kind, c.from, user, c.recalled, quiet), Revision: c.revision,
	}
}

// persist appends each message to the inbox of its sender and of each
// recipient, and publishes where it stands. What a notice amends is amended
// before; a message that comes after what amended it is appended as it is now.
// A message that cannot be kept is refused by itself. At the first failure that
// may pass, the messages from there on fail with it, so that they come again in
// their order.
func (p *persister) persist(ctx context.Context, events []event.Event) error {
	each := make(fn.Each, len(events))
	groups := make(map[string][]string)
	var jobs []job
	rows, work := 0, 0
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
		if work > 0 && work+j.work() > p.work {
			return from(each, i, errors.Join(flush(), errEnough()))
		}
		work += j.work()
		// What is amended has to be there before.
		if len(jobs) > 0 && (rows+len(j.recipients) > p.rows || amends(&j, jobs)) {
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

// work returns what it costs to append j, in bytes of entries.
func (j *job) work() int { return len(j.recipients) * (rowWork + len(j.json)) }

// errEnough is the error of what is left of a batch that has come to enough.
func errEnough() error {
	return im.Errorf(im.Overloaded, "this is more than is done at once: what is left comes again")
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
	// Before anybody is told: who reads of a change finds it made. Cut off
	// after this, the notices come again.
	if err := p.amend(ctx, jobs); err != nil {
		return err
	}
	// Before anybody reads it: what was recalled is not shown for a moment.
	if _, err := p.revise(ctx, jobs); err != nil {
		return err
	}
	var entries []im.Entry
	for i := range jobs {
		for _, user := range jobs[i].recipients {
			entries = append(entries, jobs[i].entry(user))
		}
	}
	seqs, err := p.appender.append(ctx, entries)
	if err != nil {
		return err
	}
	if err := p.settle(ctx, jobs); err != nil {
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
		Message    json.RawMessage   `json:"message"`
		Recipients []string          `json:"recipients"`
		Quiet      bool              `json:"quiet"`
		Amended    []json.RawMessage `json:"amended"`
		Former     []string          `json:"former"`
	}
	// What is not UTF-8 is not JSON to this reader.
	if err := jsonv2.Unmarshal(e.Data, &accepted); err != nil {
		return job{}, im.Wrap(im.Invalid, err, "the data is not that of an accepted message")
	}
	j := job{recipients: accepted.Recipients, former: accepted.Former, quiet: accepted.Quiet, traceParent: e.TraceParent}
	var err error
	if j.content, err = read(accepted.Message); err != nil {
		return j, err
	}
	if len(j.recipients) > maxRecipients {
		return j, im.Errorf(im.Invalid, "the message has %d recipients; %d are the most", len(j.recipients), maxRecipients)
	}
	if len(j.former) > im.MaxFormer {
		return j, im.Errorf(im.Invalid, "%d former members are named; %d are the most", len(j.former), im.MaxFormer)
	}
	for _, user := range slices.Concat(j.recipients, j.former) {
		if !im.IsID(user) {
			return j, im.Errorf(im.Invalid, "%.40q, a recipient, is not the id of a user", user)
		}
	}
	j.amended, err = readAmended(accepted.Amended, j.conversation)
	return j, err
}

// read reads a message, and checks it.
func read(message json.RawMessage) (content, error) {
	var head struct {
		ID           string          `json:"id"`
		Conversation im.Conversation `json:"conversation"`
		From         string          `json:"from"`
		Kind         string          `json:"kind"`
		Recalled     bool            `json:"recalled"`
		Revision     int             `json:"revision"`
	}
	if err := jsonv2.Unmarshal(message, &head); err != nil {
		return content{}, im.Wrap(im.Invalid, err, "the data holds no message")
	}
	c := content{
		json: message, id: head.ID, conversation: head.Conversation, from: head.From,
		kind: head.Kind, recalled: head.Recalled, revision: head.Revision,
	}
	switch {
	case len(c.json) > maxMessage:
		return c, im.Errorf(im.TooLarge, "the message has %d bytes; %d are the most", len(c.json), maxMessage)
	case !im.IsMessageID(c.id):
		return c, im.Errorf(im.Invalid, "%.40q is not the id of a message", c.id)
	case !im.IsID(c.from):
		return c, im.Errorf(im.Invalid, "%.40q, who sent the message, is not the id of a user", c.from)
	case c.revision < 0 || c.revision > math.MaxInt32:
		return c, im.Errorf(im.Invalid, "%d is not the revision of a message", c.revision)
	}
	return c, c.conversation.Check()
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
				return unavailable(fmt.Errorf("reading the members of %s: %w", j.conversation, err), "the members of the group")
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
// could not answer is no fault of the message. What is what could not be read.
func unavailable(err error, what string) error {
	if im.KindOf(err).Transient() {
		return err
	}
	return im.Wrap(im.Unavailable, err, "%s could not be read; try again", what)
}
