package inbox

import (
	"context"
	"fmt"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/tidings-im/tidings/shared/im"
)

// settled is the age from which on a message may come after the notice of what
// became of it: sent again by a client, or replayed. It is more than messages
// are on their way for, so that those do not cost a look into history.
const settled = 10 * time.Second

// A history knows what became of messages after they were sent. What it has not
// got, or not yet, has not been changed as far as it knows.
type history interface {
	// ChangedMessages returns those messages that were changed after they were
	// sent, as they are now. These keys name no user.
	ChangedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]im.Message, error)

	// DeletedMessages returns those of keys whose user has deleted the message
	// for themselves.
	DeletedMessages(ctx context.Context, keys []im.EntryKey) (map[im.EntryKey]bool, error)
}

// as returns what user is to have of the message of j.
func (j *job) as(user string) *content {
	switch {
	case j.deleted[user]:
		return j.stub
	case j.now != nil:
		return j.now
	}
	return &j.content
}

// entry returns the entry of a user, without a seq. Who has deleted the message
// gets it as one that was there before, which is amended: whether an entry is
// quiet is part of what makes it the same one, and not theirs to change.
func (j *job) entry(user string) im.Entry {
	e := j.as(user).entry(user, j.quiet)
	if j.deleted[user] {
		e.Class, e.Revision = im.ClassShown, 0
	}
	return e
}

// revise finds out what became of those of jobs that are old, and reports
// whether any are.
func (p *persister) revise(ctx context.Context, jobs []job) (old bool, err error) {
	var messages, entries []im.EntryKey
	for i := range jobs {
		if j := &jobs[i]; j.old() {
			messages = append(messages, im.EntryKey{ID: j.id, Conversation: j.conversation})
			for _, user := range j.recipients {
				entries = append(entries, im.EntryKey{User: user, ID: j.id, Conversation: j.conversation})
			}
		}
	}
	if len(messages) == 0 {
		return false, nil
	}
	changed, err := p.history.ChangedMessages(ctx, messages)
	if err != nil {
		return true, unavailable(fmt.Errorf("reading what became of %d messages: %w", len(messages), err), "history")
	}
	deleted, err := p.history.DeletedMessages(ctx, entries)
	if err != nil {
		return true, unavailable(fmt.Errorf("reading who has deleted %d messages: %w", len(messages), err), "history")
	}
	for i := range jobs {
		j := &jobs[i]
		if m, ok := changed[im.EntryKey{ID: j.id, Conversation: j.conversation}]; ok && m.Revision > j.revision {
			if j.now, err = contentOf(m); err != nil {
				return true, err
			}
		}
		for _, user := range j.recipients {
			if deleted[im.EntryKey{User: user, ID: j.id, Conversation: j.conversation}] {
				if err := j.delete(user); err != nil {
					return true, err
				}
			}
		}
	}
	return true, nil
}

// old reports whether the message of j may have been changed already. Of quiet
// notices there is no history.
func (j *job) old() bool {
	if j.quiet {
		return false
	}
	at, ok := im.TimeOfMessageID(j.id)
	return ok && time.Since(at.Std()) > settled
}

// delete leaves a user nothing but the stub.
func (j *job) delete(user string) error {
	if j.deleted == nil {
		var m im.Message
		if err := jsonv2.Unmarshal(j.json, &m); err != nil {
			return im.Wrap(im.Invalid, err, "the data holds no message")
		}
		stub, err := contentOf(m.Deleted())
		if err != nil {
			return err
		}
		j.stub, j.deleted = stub, make(map[string]bool)
	}
	j.deleted[user] = true
	return nil
}

func contentOf(m im.Message) (*content, error) {
	b, err := im.JSON(m)
	if err != nil {
		return nil, im.Wrap(im.Internal, err, "writing message %s", m.ID)
	}
	return &content{
		json: b, id: m.ID, conversation: m.Conversation, from: m.From,
		kind: m.Kind, recalled: m.Recalled, revision: m.Revision,
	}, nil
}

// settle brings what inboxes hold of old messages to what became of these. A
// change that was made before the look into history is found there; the notice
// of one that is made after it finds the entry, which was there before the look.
func (p *persister) settle(ctx context.Context, jobs []job) error {
	if old, err := p.revise(ctx, jobs); err != nil || !old {
		return err
	}
	return p.replace(ctx, func(yield func(im.Entry) bool) {
		for i := range jobs {
			j := &jobs[i]
			for _, user := range j.recipients {
				if c := j.as(user); c != &j.content && !yield(c.entry(user, j.quiet)) {
					return
				}
			}
		}
	})
}
