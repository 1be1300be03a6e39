// Package inbox is the functions of inboxes: persist-inbox puts each accepted
// message into the inbox of everyone concerned, message-sync hands a user what
// they have not seen, inbox-heads says how far inboxes reach. It does not know
// who is connected, nor how a message gets to their devices.
package inbox

import (
	"fmt"
	"time"

	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/kafka"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/postgres/users"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingKeep    = proc.Setting{Name: "INBOX_KEEP", Default: "0", Doc: "how old an entry of an inbox is when it is removed, such as 8760h, at least 1224h (51 days), and longer than Kafka and its dead letters keep anything (KAFKA_RETENTION_MESSAGES, KAFKA_RETENTION_DEADLETTERS, and two weeks); the newest of each conversation stays. 0 is never"}
	settingEntries = proc.Setting{Name: "INBOX_KEEP_ENTRIES", Default: "0", Doc: "how many entries an inbox keeps at least; older ones are removed when they are as old as INBOX_KEEP has to be. 0 is all"}
)

// Persist puts each accepted message into inboxes.
var Persist = fn.OnTopic("persist-inbox", event.TopicMessages, event.MessageAccepted, func(o *fn.Opener) fn.Handler {
	cache := redis.In(o)
	return fn.On(newPersister(inbox.In(o), cache, redis.MembersIn(o, groups.In(o)), messages.In(o), kafka.In(o), fn.KeyringIn(o).Sign, o.Env().Log).persist)
})

// Sync hands a user the entries of their inbox that follow a seq.
var Sync = fn.API("message-sync", im.MessagesRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), syncAfter(inbox.In(o)))
}).Holds(12 << 20) // two reads of the inbox, of large entries, and a page as JSON

// Heads says how far the inboxes of users reach.
var Heads = fn.OnEvent("inbox-heads", event.InboxHeads, func(o *fn.Opener) fn.Handler {
	return fn.Answer(headsOf(inbox.In(o), redis.In(o), o.Env().Log))
})

// Trim removes what is old from inboxes.
var Trim = fn.Every("inbox-trim", time.Hour, func(o *fn.Opener) fn.Handler {
	t := &trimmer{
		inboxes: inbox.In(o), users: users.In(o), entries: int64(o.Int(settingEntries, 0)),
		age: max(trimAge, proc.OpenEnv(o, kafka.Replayable)),
	}
	if o.String(settingKeep) != "0" {
		t.keep = o.Duration(settingKeep)
	}
	if t.keep > 0 && t.keep < t.age {
		o.Fail(fmt.Errorf("setting %s: %s is less than %s (%s)", settingKeep.Name, t.keep, t.age, settingKeep.Doc))
	}
	return fn.Timed(t.trim)
})
