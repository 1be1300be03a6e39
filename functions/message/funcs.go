// Package message is the functions that change what was said: message-recall,
// message-edit, message-react, and message-delete, which changes it for the
// caller alone. It does not write to inboxes: the notices carry what these are to
// hold.
package message

import (
	"context"

	"github.com/tidings-im/tidings/shared/archive"
	"github.com/tidings-im/tidings/shared/direct"
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/catalog"
	"github.com/tidings-im/tidings/shared/postgres/messages"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var (
	settingRecall = proc.Setting{Name: "RECALL_WINDOW", Default: "2m", Doc: "how old a message may be, by the clock of message-recall, that its sender recalls"}
	settingEdit   = proc.Setting{Name: "EDIT_WINDOW", Default: "24h", Doc: "how old a message may be, by the clock of message-edit, that its sender edits"}
)

// Recall empties a message, for everybody.
var Recall = fn.API("message-recall", im.MessagesWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), recall(changes(o), o.Duration(settingRecall)))
})

// Edit gives a message of the caller's another text.
var Edit = fn.API("message-edit", im.MessagesWrite, func(o *fn.Opener) fn.Handler {
	f := edit(changes(o), direct.Policy(o.Settings), o.Duration(settingEdit))
	return fn.CallAs(redis.GateIn(o), limited(o, f))
})

// React puts an emoji of the caller on a message, or takes it off.
var React = fn.API("message-react", im.MessagesWrite, func(o *fn.Opener) fn.Handler {
	f := react(changes(o), direct.Policy(o.Settings))
	return fn.CallAs(redis.GateIn(o), limited(o, f))
})

// Delete deletes messages for the caller alone.
var Delete = fn.API("message-delete", im.MessagesWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), (&remover{changes(o), inbox.In(o)}).call)
})

// changes makes changes of messages, those in the archive among them.
func changes(o *fn.Opener) changer {
	return withArchive(outbox.ChangesIn[archivedTx](o, messages.With), catalog.In(o), archive.In(o))
}

// limited is f for who does not do it too often: each time is an entry in the
// inbox of everybody who has the message, which nobody sees.
func limited[In, Out any](o *fn.Opener, f func(context.Context, im.Caller, In) (Out, error)) func(context.Context, im.Caller, In) (Out, error) {
	return fn.Limited(redis.LimitIn(o, redis.Reactions), f)
}
