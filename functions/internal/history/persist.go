package history

import (
	"context"
	"encoding/json"
	"fmt"
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
}

// persist adds each message to the history of its conversation. Quiet notices
// are in no history. A message that cannot be kept is refused by itself.
func persist(to appender) func(context.Context, []event.Accepted) error {
	return func(ctx context.Context, batch []event.Accepted) error {
		each := make(fn.Each, len(batch))
		messages, places := make([]im.Message, 0, len(batch)), make([]int, 0, len(batch))
		for i, a := range batch {
			if each[i] = check(a.Message); each[i] == nil && !a.Quiet {
				messages, places = append(messages, a.Message), append(places, i)
			}
		}
		err := to.AppendHistory(ctx, messages)
		switch {
		case err == nil:
		case im.KindOf(err).Transient():
			err = fmt.Errorf("appending %d messages: %w", len(messages), err)
			for _, i := range places {
				each[i] = err
			}
		default:
			// One of them can never be kept: only it may be given up.
			for n, i := range places {
				if err := to.AppendHistory(ctx, messages[n:n+1]); err != nil {
					each[i] = fmt.Errorf("appending %s: %w", messages[n].ID, err)
				}
			}
		}
		return each.Or()
	}
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
