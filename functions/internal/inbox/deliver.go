package inbox

import (
	"strconv"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/im"
)

const source = "/functions/persist-inbox"

// deliveries returns the events that say where the message of j stands in
// whose inbox, sealed. Their ids are the same each time, though after a change
// of members their recipients may not be.
func deliveries(j job, seqs map[im.EntryKey]int64, seal func(*event.Event)) []event.Event {
	var out []event.Event
	for n, rest := 0, j.recipients; len(rest) > 0; n++ {
		to := rest[:min(len(rest), event.MaxRecipients)]
		rest = rest[len(to):]
		e := event.Event{
			ID:           j.id,
			Type:         event.InboxAppended,
			Source:       source,
			Subject:      string(j.conversation),
			PartitionKey: string(j.conversation),
			Time:         im.Now(),
			TraceParent:  j.traceParent,
			Data:         appended(j, to, seqs),
		}
		if n > 0 {
			e.ID += "." + strconv.Itoa(n)
		}
		seal(&e)
		out = append(out, e)
	}
	return out
}

// appended writes an event.Appended. It is done by hand because the message is
// JSON already, and encoding/json would read all of it again.
func appended(j job, to []string, seqs map[im.EntryKey]int64) []byte {
	b := make([]byte, 0, len(j.json)+48*len(to)+32)
	b = append(b, `{"message":`...)
	b = append(b, j.json...)
	b = append(b, `,"entries":[`...)
	for i, user := range to {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"user":"`...)
		b = append(b, user...) // an id: nothing to escape
		b = append(b, `","seq":`...)
		b = strconv.AppendInt(b, seqs[im.EntryKey{User: user, ID: j.id, Conversation: j.conversation}], 10)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
