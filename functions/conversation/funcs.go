// Package conversation is the functions of a user's list of conversations:
// conversation-list shows it, conversation-update pins, mutes and hides,
// message-read notes up to where they have read. It does not know how messages
// come into inboxes, from which the list is read.
package conversation

import (
	"github.com/tidings-im/tidings/shared/fn"
	"github.com/tidings-im/tidings/shared/im"
	"github.com/tidings-im/tidings/shared/inbox"
	"github.com/tidings-im/tidings/shared/outbox"
	"github.com/tidings-im/tidings/shared/postgres/conversations"
	"github.com/tidings-im/tidings/shared/postgres/friends"
	"github.com/tidings-im/tidings/shared/postgres/groups"
	"github.com/tidings-im/tidings/shared/proc"
	"github.com/tidings-im/tidings/shared/redis"
)

var settingReceipts = proc.Setting{Name: "RECEIPT_MEMBERS", Default: "50", Doc: "members of the largest group in which all are told who has read up to where; 0 is none"}

// List shows the caller's conversations.
var List = fn.API("conversation-list", im.ConversationsRead, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), list(inbox.In(o), conversations.In(o)))
}).Holds(12 << 20) // the newest message of each conversation of a page, and a page as JSON

// Update pins, mutes and hides a conversation.
var Update = fn.API("conversation-update", im.ConversationsWrite, func(o *fn.Opener) fn.Handler {
	return fn.CallAs(redis.GateIn(o), update(outbox.ChangesIn[tx](o, conversations.With), inbox.In(o), redis.MembersIn(o, groups.In(o))))
})

// Read notes up to which message the caller has read a conversation.
var Read = fn.API("message-read", im.ConversationsWrite, func(o *fn.Opener) fn.Handler {
	m := &marker{
		change: outbox.ChangesIn[tx](o, conversations.With), inbox: inbox.In(o), relations: friends.In(o), members: redis.MembersIn(o, groups.In(o)),
		most: o.Int(settingReceipts, 0),
	}
	return fn.CallAs(redis.GateIn(o), m.read)
})
