// Package history is the functions of what was said: persist-history keeps
// each accepted message in its conversation, message-history hands it to the
// members. It does not know of inboxes.
package history

import (
	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/event"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/redis"
)

// Persist adds each accepted message to the history of its conversation.
var Persist = fn.OnTopic("persist-history", event.TopicMessages, event.MessageAccepted, func(o *fn.Opener) fn.Handler {
	return fn.On(persist(messages.In(o)))
})

// Read hands the history of a conversation to its members, a page at a time.
var Read = fn.API("message-history", im.MessagesRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), read(messages.In(o), archive.In(o), groups.In(o)))
}).Holds(8 << 20) // a page as messages, what of another is read with it, and both as JSON
