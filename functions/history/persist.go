package history

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
)

// maxData is the most bytes of the data of a notice, and of the text of a
// message of any kind.
const maxData = 256 << 10

// An appender keeps messages.
type appender interface {
	// AppendHistory adds messages to their conversations, all or none of them.
	// Adding one twice keeps one.
	AppendHistory(ctx context.Context, messages []im.Message) error

	// AmendHistory replaces those that are there with a lesser revision, all or
	// none of them.
	AmendHistory(ctx context.Context, messages []im.Message) error
}

// persist adds each message to the history of its conversation. Quiet notices
// are in no history. What a notice amends is so already, unless history had to
// be restored to before that; then it is amended here. What users have deleted
// for themselves is everybody else's still. A message that cannot be kept is
// refused by itself.
func persist(to appender) func(context.Context, []event.Accepted) error {
	return func(ctx context.Context, batch []event.Accepted) error {
		each := make(fn.Each, len(batch))
		var messages, amended works
		for i, a := range batch {
			now, err := amends(a)
			if err = cmp.Or(check(a.Message), err); err != nil {
				each[i] = err
				continue
			}
			if !a.Quiet {
				messages.add(i, a.Message)
			}
			amended.add(i, now...)
		}
		// What is amended may be of the same batch: it has to be there before.
		if messages.do(ctx, "appending", to.AppendHistory, each) {
			amended.do(ctx, "amending", to.AmendHistory, each)
		} else {
			amended.fail(im.Errorf(im.Unavailable, "what is amended could not be appended; try again"), each)
		}
		return each.Or()
	}
}

// works are messages with which the same is to be done.
type works struct {
	messages []im.Message
	events   []int // of which each is, in the batch
}

func (w *works) add(event int, messages ...im.Message) {
	for _, m := range messages {
		w.messages, w.events = append(w.messages, m), append(w.events, event)
	}
}

// do does it, and notes in each which events failed. It reports false if some
// of them may succeed later.
func (w *works) do(ctx context.Context, doing string, it func(context.Context, []im.Message) error, each fn.Each) bool {
	if len(w.messages) == 0 {
		return true
	}
	err := it(ctx, w.messages)
	switch {
	case err == nil:
		return true
	case im.KindOf(err).Transient():
		w.fail(fmt.Errorf("%s %d messages: %w", doing, len(w.messages), err), each)
		return false
	}
	// With one of them it can never be done: only it may be given up.
	done := true
	for n, i := range w.events {
		if err := it(ctx, w.messages[n:n+1]); err != nil {
			each[i] = fmt.Errorf("%s %s: %w", doing, w.messages[n].ID, err)
			done = done && !im.KindOf(err).Transient()
		}
	}
	return done
}

func (w *works) fail(err error, each fn.Each) {
	for _, i := range w.events {
		each[i] = err
	}
}

// maxAmended is the most messages that one notice amends.
const maxAmended = 100

// amends returns the messages that a amends for everybody, as they are now.
func amends(a event.Accepted) ([]im.Message, error) {
	if len(a.Amended) > maxAmended {
		return nil, im.Errorf(im.Invalid, "%d messages are amended; %d are the most", len(a.Amended), maxAmended)
	}
	var now []im.Message
	for _, m := range a.Amended {
		if m.Kind == im.KindDeleted {
			continue
		}
		switch err := check(m); {
		case err != nil:
			return nil, fmt.Errorf("what is amended: %w", err)
		case m.Conversation != a.Message.Conversation:
			return nil, im.Errorf(im.Invalid, "a message of %.80q is amended from %.80q", string(m.Conversation), string(a.Message.Conversation))
		case m.Revision <= 0 || m.Revision > math.MaxInt32:
			return nil, im.Errorf(im.Invalid, "%d is not the revision of a message that was amended", m.Revision)
		}
		now = append(now, m)
	}
	return now, nil
}

// check reports what would keep m from being stored.
func check(m im.Message) error {
	switch {
	case !im.IsMessageID(m.ID):
		return im.Errorf(im.Invalid, "%.40q is not the id of a message", m.ID)
	case !im.IsID(m.From):
		return im.Errorf(im.Invalid, "%.40q, who sent the message, is not the id of a user", m.From)
	case m.Time <= 0 || m.Time.Std().Year() > 9999:
		return im.Errorf(im.Invalid, "the message is of no time")
	case len(m.ClientID) > im.MaxClientID:
		return im.Errorf(im.Invalid, "the client's id of the message is %d bytes at most", im.MaxClientID)
	case m.ReplyTo != "" && !im.IsMessageID(m.ReplyTo):
		return im.Errorf(im.Invalid, "%.40q, which the message answers, is not the id of a message", m.ReplyTo)
	case len(m.Text) > maxData || len(m.Data) > maxData || len(m.Kind) > 32:
		return im.Errorf(im.TooLarge, "the message is too large to be kept")
	case m.Kind == "":
		return im.Errorf(im.Invalid, "the message is of no kind")
	case len(m.Data) > 0 && !json.Valid(m.Data):
		return im.Errorf(im.Invalid, "the data of the message is not JSON")
	}
	for _, s := range []string{m.Text, m.ClientID, m.Kind} {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return im.Errorf(im.Invalid, "the message holds what is not text")
		}
	}
	return m.Conversation.Check()
}
