package inbox

import (
	"maps"
	"slices"
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
	users := j.recipients
	if len(j.deleted) > 0 { // who has the same, together
		users = slices.DeleteFunc(slices.Clone(users), func(u string) bool { return j.deleted[u] })
		users = append(users, slices.Sorted(maps.Keys(j.deleted))...)
	}
	for n, rest := 0, users; len(rest) > 0; n++ {
		to := rest[:j.alike(rest[:min(len(rest), event.MaxRecipients)])]
		rest = rest[len(to):]
		e := event.Event{
			ID:           j.id,
			Type:         event.InboxAppended,
			Source:       source,
			Subject:      string(j.conversation),
			PartitionKey: string(j.conversation),
			Time:         im.Now(),
			TraceParent:  j.traceParent,
			Data:         appended(j.said(to[0]), to, seqs),
		}
		if n > 0 {
			e.ID += "." + strconv.Itoa(n)
		}
		seal(&e)
		out = append(out, e)
	}
	return out
}

// alike returns how many of the first users have the same of the message of j.
func (j *job) alike(users []string) int {
	if len(j.deleted) == 0 {
		return len(users)
	}
	n := 1
	for n < len(users) && j.deleted[users[n]] == j.deleted[users[0]] {
		n++
	}
	return n
}

// appended writes an event.Appended. It is done by hand because the message is
// JSON already, and encoding/json would read all of it again.
func appended(c *content, to []string, seqs map[im.EntryKey]int64) []byte {
	b := make([]byte, 0, len(c.json)+48*len(to)+32)
	b = append(b, `{"message":`...)
	b = append(b, c.json...)
	b = append(b, `,"entries":[`...)
	for i, user := range to {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"user":"`...)
		b = append(b, user...) // an id: nothing to escape
		b = append(b, `","seq":`...)
		b = strconv.AppendInt(b, seqs[im.EntryKey{User: user, ID: c.id, Conversation: c.conversation}], 10)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
